//! Torn and damaged journals through the whole start. Each byte is covered by the journal's own tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fama_storage::{ErrorKind, Stores};
use tokio::runtime::Runtime;

use crate::workload;

const WRITES: u64 = 40;

/// A closed store's files, the journal's without zeros at its end, and where its last batch began.
struct Template {
    _dir: tempfile::TempDir,
    path: PathBuf,
    journal: Vec<u8>,
    last_batch: usize,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn journal_of(path: &Path) -> PathBuf {
    path.join("db/0.jnl")
}

/// The length of a journal without the zeros at its end.
fn content(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(journal_of(path)).unwrap();
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(length);
    bytes
}

fn template() -> Template {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = workload::open(&path).unwrap();
    let write = |stores: &Stores, number| runtime().block_on(workload::write(stores, number)).unwrap();
    for number in 0..WRITES {
        write(&store.stores(), number);
    }
    let last_batch = content(&path).len();
    // A follow: one batch.
    write(&store.stores(), WRITES + 2);
    drop(store);
    Template { journal: content(&path), _dir: dir, path, last_batch }
}

/// A copy of the template with other journal bytes.
fn variant(template: &Template, journal: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&template.path, dir.path());
    std::fs::write(journal_of(dir.path()), journal).unwrap();
    dir
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.path().extension().is_none_or(|extension| extension != "jnl") {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_torn_tail_loses_only_the_batch_that_was_not_synced() {
    let template = template();
    let earlier: BTreeSet<u64> = (0..WRITES).collect();
    let (start, end) = (template.last_batch, template.journal.len());
    let step = (end - start) / 24 + 1;
    for cut in (start..end).step_by(step).chain([end - 1, end]) {
        let mut bytes = template.journal[..cut].to_vec();
        bytes.resize(cut + (cut % 3) * 5_000, 0);
        let dir = variant(&template, &bytes);
        for again in [false, true] {
            let store = workload::open(dir.path()).unwrap();
            let stores = store.stores();
            assert_eq!(
                runtime().block_on(workload::verify(&stores, &earlier)),
                Vec::<u64>::new(),
                "cut at {cut}"
            );
            let there = runtime().block_on(workload::is_there(&stores, WRITES + 2));
            assert_eq!(there, cut == end || again, "cut at {cut}");
            // What comes after the cut is kept like anything else.
            if !there {
                runtime().block_on(workload::write(&stores, WRITES + 2)).unwrap();
            }
        }
    }
}

#[test]
fn damage_in_the_middle_keeps_the_store_closed() {
    let template = template();
    let step = template.last_batch / 24 + 1;
    for at in (0..template.last_batch).step_by(step) {
        let mut bytes = template.journal.clone();
        bytes[at] ^= 0x10;
        let dir = variant(&template, &bytes);
        let error =
            workload::open(dir.path()).err().unwrap_or_else(|| panic!("opened with byte {at} flipped"));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(&journal_of(dir.path()).display().to_string()), "{text}");
        assert!(text.contains("at byte"), "{text}");
        assert_eq!(content(dir.path()), bytes, "nothing was changed");
    }
}
