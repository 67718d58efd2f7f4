//! What is written beside the code must be true: commands exist, generated files are fresh, no path of one machine.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::files::{all, root, verdict};
use fama_tests::server::binary;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The lines of fenced shell blocks in a page.
fn commands(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && matches!(language, "" | "sh" | "bash" | "console" | "shell");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let command = line.split(" #").next().unwrap_or(line).trim();
            found.push(command.trim_start_matches("$ ").to_owned());
        }
    }
    found
}

fn fama(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).output().expect("the binary starts");
    assert!(output.status.success(), "fama {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_commands_of_the_readme_exist() {
    let readme = read("README.md");
    let found = commands(&readme);
    let help = fama(&["--help"]);
    let mut wrong = Vec::new();
    for command in &found {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["cargo", "run", rest @ ..] => {
                let own = rest.iter().position(|w| *w == "--").map_or(&[][..], |at| &rest[at + 1..]);
                let verb = own.first().filter(|w| !w.starts_with('-'));
                if verb.is_some_and(|verb| !help.contains(&format!("\n  {verb} "))) {
                    wrong.push(format!("{command}: no such subcommand"));
                }
            }
            ["fama" | "./target/release/fama", verb, ..]
                if !verb.starts_with('-') && !help.contains(&format!("\n  {verb} ")) =>
            {
                wrong.push(format!("{command}: no such subcommand"));
            }
            [script, ..]
                if script.starts_with("./")
                    && !script.starts_with("./target")
                    && !root().join(script).is_file() =>
            {
                wrong.push(format!("{command}: no such file"));
            }
            _ => {}
        }
    }
    if !found.iter().any(|c| c == "cargo run --release -- demo") {
        wrong.push("the demo's command is missing".to_owned());
    }
    let ci = read(".ci/run");
    let called = ci.lines().rfind(|l| !l.trim().is_empty() && !l.starts_with('#')).unwrap_or_default();
    let called = called.trim_start_matches("exec ").split(' ').next().unwrap_or_default();
    if !found.iter().any(|c| c == called) {
        wrong.push(format!(".ci/run calls {called}, which README.md does not give"));
    }
    verdict("README.md", &wrong);
}

#[test]
fn the_default_configuration_is_fresh() {
    assert!(
        read("config.defaults.toml") == fama(&["print-config"]),
        "config.defaults.toml is stale: write it again with `cargo run -- print-config > config.defaults.toml`"
    );
}

/// The demo page is committed as a bundle, with the digest of all that it was made from: the sources and a few files
/// beside them, one behind the other in the order of their paths.
#[test]
fn the_bundled_page_is_fresh() {
    let package = root().join("clients/js");
    let mut sources: Vec<String> = all(&[".ts", ".tsx", ".css", ".html", ".svg"])
        .into_iter()
        .filter_map(|file| file.path.strip_prefix("clients/js/").map(str::to_owned))
        .filter(|path| path.starts_with("src/"))
        .collect();
    let beside =
        ["package-lock.json", "package.json", "scripts/build.mjs", "scripts/sources.mjs", "tsconfig.json"];
    sources.extend(beside.map(str::to_owned));
    sources.sort();
    let mut digest =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    let mut stdin = digest.stdin.take().expect("piped");
    for source in &sources {
        stdin.write_all(&std::fs::read(package.join(source)).expect("a source")).expect("sha256sum reads");
    }
    drop(stdin);
    let output = digest.wait_with_output().expect("sha256sum ends");
    let fresh = String::from_utf8_lossy(&output.stdout).into_owned();
    let committed = read("server/assets/demo/SOURCES.sha256");
    assert!(
        sources.len() > 20 && fresh.starts_with(committed.trim()),
        "server/assets/demo is stale: cd clients/js && npm ci && npm run build"
    );
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in all(&[".md"]) {
        let folder = root().join(Path::new(&page.path).parent().unwrap_or(Path::new("")));
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !outside && !folder.join(target).exists() {
                wrong.push(format!("{}: {target}", page.path));
            }
        }
    }
    verdict("links to nowhere", &wrong);
}

/// Tests that a page names, as `module::name`, exist.
#[test]
fn named_tests_exist() {
    let sources: Vec<String> = all(&[".rs"]).into_iter().map(|file| file.text).collect();
    let page = read("tests/README.md");
    let names = page.split('`').skip(1).step_by(2).filter_map(|code| code.rsplit_once("::"));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    let missing = names.iter().filter(|name| {
        let function = format!("fn {name}(");
        !sources.iter().any(|text| text.contains(&function))
    });
    let wrong: Vec<String> = missing.map(|name| format!("tests/README.md: {name}")).collect();
    assert!(names.len() > 40, "{} names: the search is broken", names.len());
    verdict("tests that are named and not there", &wrong);
}

#[test]
fn no_path_of_one_machine() {
    // In pieces, so that this file does not have them.
    let machine =
        [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!(".lib", "rary")];
    let ends = [
        ".rs", ".md", ".toml", ".js", ".mjs", ".ts", ".py", ".sh", ".html", ".css", ".json", ".yml",
        ".service", "/run",
    ];
    let mut wrong = Vec::new();
    for file in all(&ends) {
        for (number, line) in file.text.lines().enumerate() {
            if line.len() < 2000 && machine.iter().any(|m| line.contains(m)) {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    verdict("a path of somebody's machine", &wrong);
}
