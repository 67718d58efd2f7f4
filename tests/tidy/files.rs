//! What the checks look at: the project's own files, and Rust with its comments and strings blanked out.

use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 6] = ["target", "node_modules", ".git", ".cache", "data", "out"];

/// The top of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

/// A file of the project: its path from the top, with `/`, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

/// Every text file whose name ends in one of `ends`.
pub fn all(ends: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), &mut |path| {
        let name = path.to_string_lossy();
        if !ends.iter().any(|end| name.ends_with(end)) {
            return;
        }
        if let Ok(text) = std::fs::read_to_string(path) {
            let from_top = path.strip_prefix(root()).expect("below the top").to_string_lossy().into_owned();
            found.push(File { path: from_top, text });
        }
    });
    assert!(!found.is_empty(), "no file ends in {ends:?}: the walk is broken");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        if kind.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                walk(&entry.path(), visit);
            }
        } else if kind.is_file() {
            visit(&entry.path());
        }
    }
}

/// The same text, line by line, with comments, strings and characters turned into blanks: what is left is code.
pub fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !in_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn in_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at - 1] != b'b'
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at.min(bytes.len())
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = at + 2 + hashes;
    bytes[body..].windows(close.len()).position(|w| w == close).map(|n| body + n + close.len())
}

/// The end of a character, or `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        return bytes[at + 3..].iter().position(|&b| b == b'\'').map(|n| at + 4 + n);
    }
    let width = std::str::from_utf8(&bytes[at + 1..bytes.len().min(at + 5)])
        .map_or_else(|e| std::str::from_utf8(&bytes[at + 1..at + 1 + e.valid_up_to()]).ok(), Some)
        .and_then(|s| s.chars().next())
        .map(char::len_utf8)?;
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + 2 + width)
}

/// Where the `}` that answers the `{` at `open` stands, in text that is code only.
pub fn closing_brace(code: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, &b) in code.iter().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The same code with the items under `#[cfg(test)]` (or a `cfg` that names `contract` or `test-util`) blanked out.
pub fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for marker in ["#[cfg(test)]", "#[cfg(any(test"] {
        let mut from = 0;
        while let Some(at) = code.get(from..).and_then(|rest| rest.find(marker)).map(|n| n + from) {
            let body = code[at..].find(['{', ';']).map_or(code.len(), |n| at + n);
            let end = if code.as_bytes().get(body) == Some(&b'{') {
                closing_brace(code.as_bytes(), body)
            } else {
                body
            };
            for b in &mut bytes[at..end.min(code.len())] {
                if *b != b'\n' {
                    *b = b' ';
                }
            }
            from = end.max(at + 1);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fails with every line of `wrong`, if there are any.
pub fn verdict(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}
