//! Who may depend on whom: the direction of the crates, and where outside libraries may be seen.

use crate::files::{all, root, verdict};

/// Folder of a crate, its package name, and the packages of ours that it may depend on.
const CRATES: [(&str, &str, &[&str]); 7] = [
    ("clients/protocol", "fama-protocol", &[]),
    ("storage", "fama-storage", &["fama-protocol"]),
    ("presence", "fama-presence", &["fama-protocol"]),
    ("fanout", "fama-fanout", &["fama-protocol", "fama-storage"]),
    ("server", "fama-server", &["fama-protocol", "fama-storage", "fama-fanout", "fama-presence"]),
    ("loadgen", "fama-loadgen", &["fama-protocol"]),
    (
        "tests",
        "fama-tests",
        &["fama-protocol", "fama-storage", "fama-fanout", "fama-presence", "fama-server", "fama-loadgen"],
    ),
];

/// A library from outside, and the folders that may name it. Everything else must not know it exists, its tests apart.
const CONFINED: [(&str, &[&str]); 14] = [
    ("axum", &["server"]),
    ("hyper", &["server", "loadgen"]),
    ("hyper-util", &["server", "loadgen"]),
    ("tower", &["server"]),
    ("utoipa", &["server"]),
    ("clap", &["server", "loadgen"]),
    ("reqwest", &["server", "loadgen", "tests"]),
    ("jsonwebtoken", &["server", "loadgen", "tests"]),
    ("tokio-tungstenite", &["loadgen", "tests", "clients/rust"]),
    ("fjall", &["storage"]),
    ("async-nats", &["fanout/nats"]),
    ("fred", &["fanout/redis", "presence/redis"]),
    ("scylla", &["storage/scylla"]),
    ("rand", &["server", "loadgen", "tests", "clients/rust"]),
];

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

const BUILT: [&str; 2] = ["dependencies", "build-dependencies"];
const TESTED: [&str; 1] = ["dev-dependencies"];

fn dependencies(manifest: &toml::Table, sections: &[&str]) -> Vec<String> {
    sections
        .iter()
        .filter_map(|section| manifest.get(*section).and_then(toml::Value::as_table))
        .flat_map(|table| table.keys().cloned())
        .collect()
}

fn members() -> Vec<String> {
    let table = manifest(".");
    let members = table["workspace"]["members"].as_array().expect("workspace.members is a list");
    members.iter().map(|m| m.as_str().expect("a member is text").to_owned()).collect()
}

#[test]
fn crates_depend_only_downwards() {
    let mut wrong = Vec::new();
    for folder in members() {
        let Some((_, name, allowed)) = CRATES.iter().find(|(f, ..)| *f == folder) else {
            wrong.push(format!("{folder} is not in the table of layers: say what it may depend on"));
            continue;
        };
        let manifest = manifest(&folder);
        if manifest["package"]["name"].as_str() != Some(name) {
            wrong.push(format!("{folder}: the package is called {name}"));
        }
        for dependency in dependencies(&manifest, &[&BUILT[..], &TESTED].concat()) {
            let own = dependency.starts_with("fama-") && dependency != *name;
            if own && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{folder} must not depend on {dependency}"));
            }
        }
    }
    verdict("the layers are crossed", &wrong);
}

#[test]
fn outside_libraries_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for folder in members() {
        for dependency in dependencies(&manifest(&folder), &BUILT) {
            let confined = CONFINED.iter().find(|(library, _)| *library == dependency);
            if confined.is_some_and(|(_, allowed)| !allowed.contains(&folder.as_str())) {
                wrong.push(format!("{folder} must not see {dependency}"));
            }
        }
    }
    verdict("a library is seen outside its place", &wrong);
}

#[test]
fn every_crate_takes_the_rules_of_the_workspace() {
    let mut wrong = Vec::new();
    for folder in members() {
        let manifest = manifest(&folder);
        let lints = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            wrong.push(format!("{folder}: [lints] workspace = true is missing"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if manifest["package"].get(key).and_then(|v| v.get("workspace")).is_none() {
                wrong.push(format!("{folder}: {key}.workspace = true is missing"));
            }
        }
    }
    for file in all(&["Cargo.toml"]) {
        let folder = file.path.strip_suffix("/Cargo.toml").unwrap_or(".");
        if folder != "." && !members().iter().any(|m| m == folder) {
            wrong.push(format!("{} is no member of the workspace", file.path));
        }
    }
    verdict("a crate goes its own way", &wrong);
}
