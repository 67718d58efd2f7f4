//! From the file and the environment to the structs, with errors that name the key and where it was set.

use std::collections::HashSet;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::section::{Field, Kind, Section};
use super::{Config, ConfigError, Namespace, sections};

type Result<T> = std::result::Result<T, ConfigError>;

const PREFIX: &str = "FAMA_";
const FILE_SUFFIX: &str = "_file";
/// A configuration larger than this is a mistake.
const MAX_FILE: u64 = 1 << 20;

/// The name of each section, its documentation and its keys.
pub(super) fn all_sections() -> Vec<(&'static str, &'static [&'static str], &'static [Field])> {
    fn of<S: Section>(name: &'static str) -> (&'static str, &'static [&'static str], &'static [Field]) {
        (name, S::ABOUT, S::FIELDS)
    }
    vec![
        of::<sections::Server>("server"),
        of::<sections::Storage>("storage"),
        of::<sections::Cluster>("cluster"),
        of::<sections::Auth>("auth"),
        of::<sections::Fanout>("fanout"),
        of::<sections::Feed>("feed"),
        of::<sections::Graph>("graph"),
        of::<sections::Limits>("limits"),
        of::<sections::Presence>("presence"),
        of::<sections::Demo>("demo"),
        of::<sections::Log>("log"),
        of::<super::ChannelRules>("channels"),
    ]
}

pub(super) fn read<E>(file: Option<&Path>, environment: E) -> Result<Config>
where
    E: IntoIterator<Item = (String, String)>,
{
    let mut values = match file {
        Some(path) => read_file(path)?,
        None => Table::new(),
    };
    let mut environment: Vec<_> =
        environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    environment.sort();
    for (name, value) in environment {
        overlay(&mut values, &name, &value)?;
    }
    build(values)
}

fn read_file(path: &Path) -> Result<Table> {
    let shown = path.display();
    let text = read_limited(path).map_err(|error| ConfigError(format!("can't read {shown}: {error}")))?;
    let mut table: Table =
        text.parse().map_err(|error| ConfigError(format!("{shown} is not TOML: {error}")))?;
    for (section, value) in &mut table {
        if section == "namespaces" {
            continue;
        }
        let Some(fields) = find_section(section) else {
            return Err(unknown(section, &format!("in {shown}")));
        };
        let Value::Table(keys) = value else {
            return Err(ConfigError(format!("`{section}` in {shown} must be a table: [{section}]")));
        };
        let given = std::mem::take(keys);
        for (key, value) in given {
            let (field, value) = from_file(section, fields, &key, value, path)?;
            keys.insert(field.key.to_owned(), value);
        }
    }
    Ok(table)
}

/// Checks one key of the file, and reads `<secret>_file`.
fn from_file(
    section: &str,
    fields: &'static [Field],
    key: &str,
    value: Value,
    path: &Path,
) -> Result<(&'static Field, Value)> {
    let origin = format!("in {}", path.display());
    if let Some(field) = fields.iter().find(|f| f.key == key) {
        check_kind(&format!("{section}.{key}"), field.kind, &value, &origin)?;
        return Ok((field, value));
    }
    match (secret_file(fields, key), value) {
        (Some(field), Value::String(from)) => {
            Ok((field, read_secret(&format!("{section}.{key}"), Path::new(&from))?))
        }
        _ => Err(unknown(&format!("{section}.{key}"), &origin)),
    }
}

/// Sets what `FAMA_<SECTION>__<KEY>` says.
fn overlay(values: &mut Table, name: &str, text: &str) -> Result<()> {
    let lower = name[PREFIX.len()..].to_ascii_lowercase();
    let Some((section, key)) = lower.split_once("__") else {
        // Not ours, unless it looks like one of ours with a single underscore.
        let meant = all_sections().into_iter().any(|(s, _, fields)| {
            lower
                .strip_prefix(s)
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|rest| fields.iter().any(|f| f.key == rest))
        });
        return if meant {
            Err(unknown(&lower.replacen('_', ".", 1), &format!("from {name}")))
        } else {
            Ok(())
        };
    };
    let origin = format!("from {name}");
    let path = format!("{section}.{key}");
    let Some(fields) = find_section(section) else { return Err(unknown(&path, &origin)) };
    let (field, value) = if let Some(field) = fields.iter().find(|f| f.key == key) {
        (field, from_text(&path, field.kind, text, &origin)?)
    } else if let Some(field) = secret_file(fields, key) {
        (field, read_secret(&path, Path::new(text))?)
    } else {
        return Err(unknown(&path, &origin));
    };
    let table = values.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(table) = table {
        table.insert(field.key.to_owned(), value);
    }
    Ok(())
}

fn secret_file(fields: &'static [Field], key: &str) -> Option<&'static Field> {
    let name = key.strip_suffix(FILE_SUFFIX)?;
    fields.iter().find(|f| f.key == name && f.kind == Kind::Secret)
}

fn read_secret(path: &str, from: &Path) -> Result<Value> {
    let text = read_limited(from)
        .map_err(|error| ConfigError(format!("`{path}`: can't read {}: {error}", from.display())))?;
    Ok(Value::String(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_limited(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!("{size} bytes are too many")));
    }
    std::fs::read_to_string(path)
}

fn from_text(path: &str, kind: Kind, text: &str, origin: &str) -> Result<Value> {
    let trimmed = text.trim();
    let value = match kind {
        Kind::Bool => trimmed.parse().ok().map(Value::Boolean),
        Kind::Integer => trimmed.parse().ok().filter(|n| *n >= 0).map(Value::Integer),
        Kind::Text => Some(Value::String(trimmed.to_owned())),
        Kind::Secret => Some(Value::from(text)),
        Kind::List => Some(Value::Array(
            trimmed.split(',').map(str::trim).filter(|p| !p.is_empty()).map(Value::from).collect(),
        )),
    };
    value.ok_or_else(|| ConfigError(format!("`{path}` {origin} must be {}, not `{text}`", kind.name())))
}

fn check_kind(path: &str, kind: Kind, value: &Value, origin: &str) -> Result<()> {
    let fits = match (kind, value) {
        (Kind::Bool, Value::Boolean(_)) | (Kind::Text | Kind::Secret, Value::String(_)) => true,
        (Kind::Integer, Value::Integer(number)) => *number >= 0,
        (Kind::List, Value::Array(items)) => items.iter().all(Value::is_str),
        _ => false,
    };
    if fits {
        Ok(())
    } else if kind == Kind::Secret {
        Err(ConfigError(format!("`{path}` {origin} must be text")))
    } else {
        Err(ConfigError(format!("`{path}` {origin} must be {}, not `{value}`", kind.name())))
    }
}

fn find_section(name: &str) -> Option<&'static [Field]> {
    all_sections().into_iter().find(|(section, ..)| *section == name).map(|(_, _, fields)| fields)
}

fn build(mut values: Table) -> Result<Config> {
    Ok(Config {
        server: take(&mut values, "server")?,
        storage: take(&mut values, "storage")?,
        cluster: take(&mut values, "cluster")?,
        auth: take(&mut values, "auth")?,
        fanout: take(&mut values, "fanout")?,
        feed: take(&mut values, "feed")?,
        graph: take(&mut values, "graph")?,
        limits: take(&mut values, "limits")?,
        presence: take(&mut values, "presence")?,
        demo: take(&mut values, "demo")?,
        log: take(&mut values, "log")?,
        channels: take(&mut values, "channels")?,
        namespaces: namespaces(values.remove("namespaces"))?,
    })
}

fn take<S: Section + DeserializeOwned>(values: &mut Table, name: &str) -> Result<S> {
    match values.remove(name) {
        None => Ok(S::default()),
        Some(value) => section_from(value, name),
    }
}

/// Reads key by key where the whole fails, so that the message names the key.
fn section_from<S: Section + DeserializeOwned>(value: Value, name: &str) -> Result<S> {
    let error = match value.clone().try_into::<S>() {
        Ok(section) => return Ok(section),
        Err(error) => error,
    };
    if let Value::Table(table) = value {
        for (key, value) in table {
            let alone = Table::from_iter([(key.clone(), value)]);
            if let Err(error) = Value::Table(alone).try_into::<S>() {
                return Err(ConfigError(format!("`{name}.{key}`: {}", error.message())));
            }
        }
    }
    Err(ConfigError(format!("`{name}`: {}", error.message())))
}

fn namespaces(value: Option<Value>) -> Result<Vec<Namespace>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let Value::Array(items) = value else {
        return Err(ConfigError("`namespaces` must be written [[namespaces]], once for each".into()));
    };
    let fields = super::ChannelRules::FIELDS;
    let mut seen = HashSet::new();
    let mut namespaces = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = format!("namespaces[{index}]");
        let Value::Table(mut table) = item else {
            return Err(ConfigError(format!("`{at}` must be a table: [[namespaces]]")));
        };
        let Some(Value::String(name)) = table.remove("name") else {
            return Err(ConfigError(format!("`{at}` needs a name: name = \"chat\"")));
        };
        if !seen.insert(name.clone()) {
            return Err(ConfigError(format!("there are two namespaces named `{name}`")));
        }
        for (key, value) in &table {
            let Some(field) = fields.iter().find(|f| f.key == *key) else {
                let names = fields.iter().map(|f| f.key.to_owned());
                return Err(ConfigError(with_nearest(&format!("`{at}` has no key `{key}`"), key, names)));
            };
            check_kind(&format!("{at}.{key}"), field.kind, value, "")?;
        }
        namespaces.push(Namespace { rules: section_from(Value::Table(table), &at)?, name });
    }
    Ok(namespaces)
}

fn unknown(path: &str, origin: &str) -> ConfigError {
    let names = all_sections().into_iter().flat_map(|(section, _, fields)| {
        std::iter::once(section.to_owned()).chain(fields.iter().map(move |f| format!("{section}.{}", f.key)))
    });
    ConfigError(with_nearest(&format!("there is no key `{path}` ({origin})"), path, names))
}

fn with_nearest(message: &str, given: &str, names: impl Iterator<Item = String>) -> String {
    // The beginning of a name is near to it, however long the rest.
    let apart = |name: &str| if name.starts_with(given) { 1 } else { distance(given, name) };
    let nearest = names.map(|name| (apart(&name), name)).min();
    match nearest {
        Some((d, name)) if d <= given.len().max(3) / 2 => format!("{message}; did you mean `{name}`?"),
        _ => format!("{message}; `fama print-config` lists all keys"),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_env(pairs: &[(&str, &str)]) -> Result<Config> {
        Config::load(None, pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    fn from_toml(text: &str, pairs: &[(&str, &str)]) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fama.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_environment_wins_over_the_file_and_lists_are_comma_separated() {
        let config = from_toml(
            "[server]\nping_s = 20\nlisten = \"127.0.0.1:9000\"\n[[namespaces]]\nname = \"chat\"\nhistory_size = 10\nhistory_ttl_s = 60\nrecovery = \"stream\"\n",
            &[
                ("FAMA_SERVER__PING_S", "7"),
                ("FAMA_SERVER__ALLOWED_ORIGINS", "https://a.example, https://b.example"),
                ("HOME", "/root"),
                ("FAMA_HOME", "not ours"),
            ],
        )
        .unwrap();
        assert_eq!(config.server.ping_s, 7);
        assert_eq!(config.server.listen.port(), 9000);
        assert_eq!(config.server.allowed_origins, ["https://a.example", "https://b.example"]);
        assert_eq!(
            (config.namespaces[0].name.as_str(), config.namespaces[0].rules.history_size),
            ("chat", 10)
        );
    }

    #[test]
    fn secrets_come_from_files_too_and_are_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        let config = from_env(&[("FAMA_AUTH__HMAC_SECRET_FILE", path.to_str().unwrap())]).unwrap();
        let secret = config.auth.hmac_secret.clone().unwrap();
        assert_eq!(secret.expose(), "0123456789abcdef0123456789abcdef");
        assert!(!format!("{config:?}").contains("0123456789"));
    }

    #[test]
    fn mistakes_are_named_with_the_fix() {
        for (result, expected) in [
            (from_env(&[("FAMA_SERVER__LISTN", "x")]), "did you mean `server.listen`"),
            (from_env(&[("FAMA_SERVER_LISTEN", "x")]), "did you mean `server.listen`"),
            (
                from_env(&[("FAMA_SERVER__PING_S", "soon")]),
                "must be a whole number, not negative, not `soon`",
            ),
            (from_env(&[("FAMA_SERVER__PING_S", "-1")]), "`server.ping_s` from FAMA_SERVER__PING_S"),
            (from_env(&[("FAMA_SERVER__LISTEN", "here")]), "`server.listen`: "),
            (from_env(&[("FAMA_AUTH__HMAC_SECRET_FILE", "/nowhere")]), "can't read /nowhere"),
            (from_toml("[sever]\n", &[]), "did you mean `server`"),
            (from_toml("[server]\nlisten = 8000\n", &[]), "`server.listen` in "),
            (from_toml("[server\n", &[]), "is not TOML"),
            (from_toml("[[namespaces]]\nname = \"a\"\nhistory = 1\n", &[]), "did you mean `history_"),
            (from_toml("[[namespaces]]\nhistory_size = 1\n", &[]), "needs a name"),
            (
                from_toml("[[namespaces]]\nname = \"a\"\n[[namespaces]]\nname = \"a\"\n", &[]),
                "two namespaces",
            ),
            (from_toml("[channels]\nsubscribe = \"all\"\n", &[]), "`channels.subscribe`: unknown variant"),
        ] {
            let message = result.expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}\n  should contain\n{expected}");
        }
    }
}
