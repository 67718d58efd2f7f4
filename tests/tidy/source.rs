//! What the source must not have: clocks below the server, long files and functions, leftovers, dead files.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::files::{File, all, closing_brace, code_only, root, verdict, without_tests};

/// Where and what may be called all the same: the thread that owns the disk paces its own retries by the monotonic
/// clock, and nothing of that is stored or told.
const PACED: (&str, &str) = ("storage/src/embedded/writer.rs", "Instant::now");

/// Longer files are named in the output, to be split when they are next touched.
const FILE_AIM: usize = 400;
const FILE_LIMIT: usize = 600;
const FUNCTION_LIMIT: usize = 70;

/// Folders below `server`: there, `now`, ids and chance are arguments, so that simulations and models can run them.
const PURE: [&str; 4] = ["clients/protocol/src/", "storage/src/", "fanout/src/", "presence/src/"];
const IMPURE: [&str; 8] = [
    "SystemTime::now",
    "Instant::now",
    "OffsetDateTime::now",
    "Utc::now",
    "rand::",
    "getrandom",
    "thread_rng",
    "Uuid::new_v4",
];

fn rust() -> Vec<File> {
    all(&[".rs"])
}

#[test]
fn clocks_and_chance_live_in_the_server() {
    let mut wrong = Vec::new();
    for file in rust().iter().filter(|f| PURE.iter().any(|p| f.path.starts_with(p))) {
        let is_test = file.path.contains("/contract")
            || file.path.ends_with("/tests.rs")
            || file.path.ends_with("/testing.rs")
            || file.path.contains("/tests/");
        if is_test {
            continue;
        }
        let code = without_tests(&code_only(&file.text));
        for (number, line) in code.lines().enumerate() {
            let called = IMPURE.iter().filter(|call| line.contains(**call));
            for call in called.filter(|call| (file.path.as_str(), **call) != PACED) {
                wrong.push(format!("{}:{}: {call}", file.path, number + 1));
            }
        }
    }
    verdict("take the time, ids and chance as arguments below server", &wrong);
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for file in all(&[".rs", ".js", ".mjs", ".ts", ".css", ".sh"]) {
        let generated = file.path.starts_with("server/assets/");
        let lines = file.text.lines().count();
        if lines > FILE_LIMIT && !generated {
            wrong.push(format!("{} has {lines} lines", file.path));
        } else if lines > FILE_AIM && !generated {
            eprintln!("{} has {lines} lines: split it when you next touch it", file.path);
        }
    }
    verdict(&format!("files have at most {FILE_LIMIT} lines"), &wrong);
}

/// Name, line and length of each function; blank lines and comments are not counted.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let code = code_only(text);
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("fn ").map(|n| n + from) {
        from = at + 3;
        let starts_word = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let name: String =
            code[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !starts_word || name.is_empty() {
            continue;
        }
        let mut depth = 0_i32;
        let body = code[from..].char_indices().find_map(|(n, c)| {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(c, '{' | ';')).then_some((from + n, c))
        });
        let Some((open, '{')) = body else { continue };
        let close = closing_brace(bytes, open);
        let lines = code[at..close].lines().filter(|line| !line.trim().is_empty()).count();
        found.push((name, code[..at].lines().count(), lines));
    }
    found
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for file in rust() {
        for (name, line, lines) in functions(&file.text) {
            if lines > FUNCTION_LIMIT {
                wrong.push(format!("{}:{line}: {name} has {lines} lines", file.path));
            }
        }
    }
    verdict(&format!("functions have at most {FUNCTION_LIMIT} lines"), &wrong);
}

#[test]
fn nothing_is_left_over() {
    let macros = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    // In pieces, so that this file does not have them.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut wrong = Vec::new();
    for file in all(&[".rs", ".js", ".mjs", ".ts", ".sh", ".py", ".toml", ".css", ".html"]) {
        if file.path.starts_with("server/assets/") {
            continue;
        }
        let code = if Path::new(&file.path).extension().is_some_and(|x| x == "rs") {
            code_only(&file.text)
        } else {
            String::new()
        };
        for (number, (line, code)) in
            file.text.lines().zip(code.lines().chain(std::iter::repeat(""))).enumerate()
        {
            let has_macro = macros.iter().any(|m| code.contains(m));
            let has_mark =
                marks.iter().any(|m| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == *m));
            if has_macro || has_mark {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    verdict("unfinished work", &wrong);
}

#[test]
fn every_exception_to_a_lint_says_why() {
    let mut wrong = Vec::new();
    for file in rust() {
        let code = code_only(&file.text);
        for (number, line) in code.lines().enumerate() {
            let trimmed = line.trim_start();
            let exception =
                ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|a| trimmed.starts_with(a));
            if !exception {
                continue;
            }
            let upto = code.lines().skip(number).take(4).collect::<Vec<_>>().join(" ");
            let attribute = upto.split(']').next().unwrap_or_default();
            if !attribute.contains("reason") {
                wrong.push(format!("{}:{}: {trimmed}", file.path, number + 1));
            }
        }
    }
    verdict("give the exception a reason = \"…\"", &wrong);
}

/// The crate roots named by the manifests, or found where cargo looks for them.
fn roots() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for file in all(&["Cargo.toml"]) {
        let folder = root().join(Path::new(&file.path).parent().unwrap_or(Path::new("")));
        let manifest: toml::Table = toml::from_str(&file.text).expect("a manifest is TOML");
        let targets = ["lib", "bin", "test", "bench", "example"];
        for target in targets.iter().filter_map(|t| manifest.get(*t)) {
            let list = target.as_array().cloned().unwrap_or_else(|| vec![target.clone()]);
            let paths = list.iter().filter_map(|t| t.get("path")).filter_map(toml::Value::as_str);
            roots.extend(paths.map(|p| folder.join(p)));
        }
        roots.extend(["src/lib.rs", "src/main.rs", "build.rs"].map(|p| folder.join(p)));
        for found in ["tests", "benches", "examples", "src/bin"] {
            // The package `tests` names its targets; its folders are not cargo's.
            let Ok(entries) = std::fs::read_dir(folder.join(found)) else { continue };
            if file.path != "Cargo.toml" {
                roots.extend(
                    entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "rs")),
                );
                let mains = std::fs::read_dir(folder.join(found)).into_iter().flatten().flatten();
                roots.extend(mains.map(|e| e.path().join("main.rs")));
            }
        }
    }
    roots.retain(|path| path.is_file());
    roots
}

/// `a/../b` → `b`, without asking the disk.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The files that `file` names by `mod x;`, `#[path = …]` or `include!`.
fn named_by(file: &Path, is_root: bool) -> Vec<PathBuf> {
    let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
    let folder = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().unwrap_or_default();
    let below = if is_root || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    let mut found = Vec::new();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path = rest.split('"').next().map(|p| folder.join(p));
            continue;
        }
        if let Some(included) = line.split("include!(\"").nth(1).and_then(|r| r.split('"').next()) {
            found.push(folder.join(included));
        }
        let declared = line.split("mod ").nth(1).and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = declared.filter(|_| !line.starts_with("//")) {
            match path.take() {
                Some(path) => found.push(path),
                None => found.extend([below.join(format!("{name}.rs")), below.join(name).join("mod.rs")]),
            }
        }
    }
    found.iter().map(|p| plain(p)).collect()
}

#[test]
fn every_file_is_part_of_a_crate() {
    let mut seen = BTreeSet::new();
    let mut open: Vec<(PathBuf, bool)> = roots().into_iter().map(|p| (plain(&p), true)).collect();
    assert!(open.len() > 5, "no crate roots: the search is broken");
    while let Some((file, is_root)) = open.pop() {
        if file.is_file() && seen.insert(file.clone()) {
            open.extend(named_by(&file, is_root).into_iter().map(|p| (p, false)));
        }
    }
    let dead: Vec<String> = rust()
        .into_iter()
        .map(|f| f.path)
        .filter(|path| !seen.contains(&plain(&root().join(path))))
        .collect();
    verdict("no crate has these files", &dead);
}

#[test]
fn the_checks_read_rust_rightly() {
    let text =
        "fn a() {\n  let s = \"}\"; // }\n  let c = '}'; let l: &'static str = r#\"}\"#;\n\n}\nfn b();\n";
    assert_eq!(functions(text), [("a".to_owned(), 0, 3)]);
    let tests = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { Instant::now() } }\nfn c() {}\n";
    let left = without_tests(tests);
    assert!(left.contains("fn c") && !left.contains("Instant") && left.lines().count() == 4, "{left}");
}
