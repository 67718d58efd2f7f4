//! The defaults with their documentation, as TOML.

use std::fmt::Write;

use toml::{Table, Value};

use super::Config;
use super::section::{Field, Kind, Section};
use super::source::all_sections;

const HEAD: &str = "\
# Every key of the configuration with its default. Printed by `fama print-config`.
# Each can be set in the environment as FAMA_<SECTION>__<KEY>, which wins over the file; lists are comma-separated there.
# A secret is also read from the file named by the same key with `_file` behind it.
";

/// What `fama print-config` prints.
pub fn print_defaults() -> String {
    let config = Config::default();
    let mut out = HEAD.to_owned();
    for (name, about, fields) in all_sections() {
        out.push('\n');
        for line in about {
            let _ = writeln!(out, "#{line}");
        }
        let _ = writeln!(out, "[{name}]");
        let defaults = defaults_of(&config, name);
        for field in fields {
            print_field(&mut out, field, defaults.get(field.key));
        }
    }
    out
}

fn print_field(out: &mut String, field: &Field, default: Option<&Value>) {
    out.push('\n');
    for line in field.docs {
        let _ = writeln!(out, "#{line}");
    }
    let _ = match default {
        Some(value) => writeln!(out, "{} = {value}", field.key),
        None if field.kind == Kind::Secret => writeln!(out, "# {} = (secret, unset)", field.key),
        None => writeln!(out, "# {} = (unset)", field.key),
    };
}

fn defaults_of(config: &Config, name: &str) -> Table {
    fn table<S: Section>(section: &S) -> Table {
        Table::try_from(section).unwrap_or_default()
    }
    match name {
        "server" => table(&config.server),
        "storage" => table(&config.storage),
        "cluster" => table(&config.cluster),
        "auth" => table(&config.auth),
        "fanout" => table(&config.fanout),
        "feed" => table(&config.feed),
        "graph" => table(&config.graph),
        "limits" => table(&config.limits),
        "presence" => table(&config.presence),
        "demo" => table(&config.demo),
        "log" => table(&config.log),
        _ => table(&config.channels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_the_output_is_a_valid_file_with_the_defaults() {
        let printed = print_defaults();
        for (section, _, fields) in all_sections() {
            for field in fields {
                assert!(!field.docs.is_empty(), "{section}.{} has no documentation", field.key);
                assert!(printed.contains(&format!("{} = ", field.key)), "{section}.{}", field.key);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fama.toml");
        std::fs::write(&path, printed).unwrap();
        assert_eq!(Config::load(Some(&path), []).unwrap(), Config::default());
    }

    #[test]
    fn the_file_in_the_root_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config.defaults.toml");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            there == print_defaults(),
            "write it again: cargo run -- print-config > config.defaults.toml"
        );
    }
}
