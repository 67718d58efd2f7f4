//! Torn and damaged journals, byte by byte.

use std::path::{Path, PathBuf};

use fama_protocol::{AppId, UserId};

use super::{End, SECTOR, check, list, scan};
use crate::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::{ErrorKind, Profile};

/// A real journal: where its batches end, and its bytes up to the last one's end.
struct Journal {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

/// Writes some profiles with data of these lengths, each in a batch of its own.
fn journal(lengths: &[usize]) -> Journal {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for length in lengths {
        let profile = Profile { data: Some("d".repeat(*length)), ..Profile::default() };
        let stores = store.stores();
        let user = UserId::new("ann").unwrap();
        runtime.block_on(stores.users.put_profile(&AppId::default(), &user, &profile)).unwrap();
    }
    let path = list(&dir.path().join("db")).unwrap().pop().unwrap();
    let scan = scan(&path).unwrap();
    assert_eq!((scan.batches.len(), scan.end), (lengths.len() + 1, End::Clean), "one for the format");
    let ends: Vec<_> = scan.batches.iter().map(|(end, _)| usize::try_from(*end).unwrap()).collect();
    let mut bytes = std::fs::read(path).unwrap();
    bytes.truncate(*ends.last().unwrap());
    Journal { ends, bytes }
}

/// A folder with one journal of these bytes.
fn folder(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.jnl");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn end_of(path: &Path, bytes: &[u8]) -> (u64, End) {
    std::fs::write(path, bytes).unwrap();
    let scan = scan(path).unwrap();
    (scan.good_end(), scan.end)
}

/// Bytes up to `cut`, with zeros behind as in a file made longer beforehand.
fn cut(bytes: &[u8], cut: usize) -> Vec<u8> {
    let mut bytes = bytes[..cut].to_vec();
    bytes.resize(cut + 2_000, 0);
    bytes
}

#[test]
fn a_batch_cut_at_any_byte_is_torn() {
    let Journal { ends, bytes } = journal(&[10, 300]);
    let (_dir, path) = folder(&[]);
    let start = ends[1];
    assert_eq!(end_of(&path, &cut(&bytes, start)), (start as u64, End::Clean));
    for at in start + 1..bytes.len() {
        assert_eq!(end_of(&path, &cut(&bytes, at)), (start as u64, End::Torn), "zeros from byte {at}");
        assert_eq!(end_of(&path, &bytes[..at]), (start as u64, End::Torn), "file ends at byte {at}");
    }
    assert_eq!(end_of(&path, &cut(&bytes, bytes.len())), (bytes.len() as u64, End::Clean));
}

#[test]
fn a_batch_with_a_sector_that_never_came_is_torn() {
    let Journal { ends, bytes } = journal(&[10, 3_000]);
    let (_dir, path) = folder(&[]);
    let (start, sector) = (ends[1], usize::try_from(SECTOR).unwrap());
    let mut holes = 0;
    for first in (0..bytes.len()).step_by(sector).filter(|first| first + sector > start) {
        let mut torn = bytes.clone();
        torn[first.max(start)..(first + sector).min(bytes.len())].fill(0);
        assert_eq!(end_of(&path, &torn), (start as u64, End::Torn), "no sector at {first}");
        holes += 1;
    }
    assert!(holes > 5);
}

#[test]
fn a_flipped_bit_is_damage_wherever_it_is() {
    let Journal { ends, bytes } = journal(&[10, 40, 10, 50]);
    let (_dir, path) = folder(&[]);
    let last = ends[ends.len() - 2];
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        flipped.resize(bytes.len() + 2_000, 0);
        let start = ends.iter().take_while(|end| **end <= at).last().copied().unwrap_or(0);
        let (good, end) = end_of(&path, &flipped);
        // Whether a sequence number is the right one shows in the next batch only, where another follows.
        let in_sequence = (5..13).contains(&(at - start));
        if at < last {
            assert_eq!(end, End::DamagedMiddle, "byte {at}");
            assert!(good == start as u64 || in_sequence, "byte {at}: good to {good}, not {start}");
        } else {
            assert!(end == End::DamagedLast || in_sequence, "byte {at}: {end:?}");
        }
    }
}

#[test]
fn a_torn_tail_is_cut_off_and_kept_beside() {
    let Journal { ends, bytes } = journal(&[10, 300]);
    let (dir, path) = folder(&cut(&bytes, bytes.len() - 7));
    check(dir.path(), false).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes[..ends[1]]);
    let copy = dir.path().join(format!("0.jnl.torn-at-{}", ends[1]));
    assert_eq!(std::fs::read(copy).unwrap(), bytes[ends[1]..bytes.len() - 7]);
    // Copies don't pile up.
    for number in 0..20 {
        std::fs::write(dir.path().join(format!("0.jnl.torn-at-9{number}")), "old").unwrap();
    }
    std::fs::write(&path, cut(&bytes, bytes.len() - 3)).unwrap();
    check(dir.path(), false).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1 + super::COPIES_KEPT);
}

#[test]
fn damage_names_file_and_byte_and_is_left_alone() {
    let Journal { ends, mut bytes } = journal(&[10, 300, 10]);
    bytes[ends[1] + 60] ^= 4;
    let (dir, path) = folder(&bytes);
    for accept_damaged_tail in [false, true] {
        let error = check(dir.path(), accept_damaged_tail).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        let place = format!("{} is damaged at byte {}", path.display(), ends[1]);
        assert!(text.contains(&place), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was changed");
    }
}

#[test]
fn a_damaged_last_batch_goes_only_when_an_operator_says_so() {
    let Journal { ends, mut bytes } = journal(&[10, 300]);
    bytes[ends[1] + 60] ^= 4;
    let (dir, path) = folder(&bytes);
    let error = check(dir.path(), false).unwrap_err();
    assert!(error.to_string().contains("accept_damaged_tail"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    check(dir.path(), true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes[..ends[1]]);
}

#[test]
fn only_the_last_journal_may_be_torn() {
    let Journal { bytes, .. } = journal(&[10, 300]);
    let (dir, path) = folder(&cut(&bytes, bytes.len() - 7));
    std::fs::write(dir.path().join("10.jnl"), &bytes).unwrap();
    let error = check(dir.path(), true).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    std::fs::rename(&path, dir.path().join("11.jnl")).unwrap();
    check(dir.path(), false).unwrap();
}

#[test]
fn refused_batches_are_cut_off() {
    let Journal { ends, bytes } = journal(&[10, 300, 20]);
    let (dir, path) = folder(&cut(&bytes, bytes.len() - 7));
    let sequence = scan(&path).unwrap().batches[2].1;
    super::cut_from(dir.path(), sequence).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes[..ends[1]]);
}
