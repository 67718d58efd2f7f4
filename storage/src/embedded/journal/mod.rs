//! Checks the journals before the database opens them.
//!
//! The database replays its journals on open. It stops at the first bytes it can't read and cuts the rest off, or
//! fails without saying where. Neither will do: what was acknowledged may lie behind. So each journal is read here
//! first, batch by batch, and told apart:
//!
//! - **Torn**: the last batch was being written when power failed. It was never synced, so never acknowledged; it is
//!   cut off, and a copy stays beside the journal. Such a batch ends early, or has a sector that is still zero.
//! - **Damaged**: anything else, such as a flipped bit. The store does not open and says which file and where.
//!
//! A batch is `Start` (tag 1, items u32, sequence u64), items (tag 2, type u8, compression u8, keyspace u64, key length
//! u16, value length u32, stored length u32, key, value; or tag 4, keyspace u64), `End` (tag 3, XXH3 of the items u64,
//! `FJL\x03`); all little-endian. Files are made longer beforehand, with zeros. The checksum leaves out the sequence
//! number, but it grows from batch to batch, and not by much.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::{ErrorKind, Result, StorageError};

const TRAILER: &[u8; 4] = b"FJL\x03";
/// Disks write whole sectors: a torn write leaves at least one as it was.
const SECTOR: u64 = 512;
/// A value is at most so long in what this store writes; a longer length is damage.
const VALUE_MAX: usize = 16 << 20;
/// Sequence numbers of one batch and the next differ by less: only batches and table writes take one.
const SEQUENCE_GAP_MAX: u64 = 1 << 20;
/// How many torn tails are kept for a look; older ones go.
const COPIES_KEPT: usize = 8;

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where each batch ends, with its sequence number. The last is where good data ends.
    pub batches: Vec<(u64, u64)>,
    /// What follows the good data.
    pub end: End,
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its last batch; only zeros may follow.
    Clean,
    /// With a batch that was never wholly written.
    Torn,
    /// With a batch that was written and is not what it was.
    DamagedLast,
    /// With damage that has good batches behind it.
    DamagedMiddle,
}

impl Scan {
    /// Where the good data ends.
    pub fn good_end(&self) -> u64 {
        self.batches.last().map_or(0, |(end, _)| *end)
    }
}

/// Checks all journals of a database directory; cuts off what was torn from the last.
pub(super) fn check(database: &Path, accept_damaged_tail: bool) -> Result<()> {
    let journals = list(database)?;
    let last = journals.len().saturating_sub(1);
    for (index, path) in journals.iter().enumerate() {
        let scan = scan(path).map_err(|error| unreadable(path, error))?;
        let offset = scan.good_end();
        let cut = match scan.end {
            End::Clean => continue,
            End::Torn => index == last,
            End::DamagedLast => index == last && accept_damaged_tail,
            End::DamagedMiddle => false,
        };
        if !cut {
            return Err(damaged(path, offset, index == last && scan.end == End::DamagedLast));
        }
        cut_off(path, offset).map_err(|error| unreadable(path, error))?;
    }
    Ok(())
}

/// Cuts everything from a sequence number on off the last journal: batches that were refused must not come back.
pub(super) fn cut_from(database: &Path, sequence: u64) -> Result<()> {
    let Some(path) = list(database)?.pop() else { return Ok(()) };
    let io = |error| unreadable(&path, error);
    let scan = scan(&path).map_err(io)?;
    let keep = scan.batches.iter().take_while(|(_, of)| *of < sequence).last().map_or(0, |(end, _)| *end);
    truncate(&path, keep).map_err(io)
}

/// The journals of a database directory, oldest first.
pub(super) fn list(database: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| unreadable(database, error);
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(database).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = stem.filter(|_| path.extension().is_some_and(|extension| extension == "jnl")) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

fn unreadable(path: &Path, error: std::io::Error) -> StorageError {
    StorageError::with_source(
        ErrorKind::Unavailable,
        format!("can't read or repair {}: {error}", path.display()),
        error,
    )
}

fn damaged(path: &Path, offset: u64, only_last: bool) -> StorageError {
    let way_out = if only_last {
        "It is the last batch. Restore the data directory from a copy; or, to lose what that batch held, \
         open once with accept_damaged_tail"
    } else {
        "Acknowledged data lies behind it: restore the data directory from a copy"
    };
    StorageError::new(
        ErrorKind::Corrupt,
        format!("the journal {} is damaged at byte {offset}, not torn by a crash. {way_out}", path.display()),
    )
}

/// Reads a journal to its end.
pub(super) fn scan(path: &Path) -> std::io::Result<Scan> {
    let mut reader = Counted { inner: BufReader::with_capacity(256 << 10, File::open(path)?), at: 0 };
    let mut batches: Vec<(u64, u64)> = Vec::new();
    loop {
        match read_batch(&mut reader) {
            Ok(sequence) if follows(batches.last(), sequence) => batches.push((reader.at, sequence)),
            Err(Fault::Io(error)) => return Err(error),
            Ok(_) | Err(Fault::Short | Fault::Wrong) => break,
        }
    }
    let end = diagnose(path, batches.last())?;
    Ok(Scan { batches, end })
}

/// Whether a sequence number can be that of the batch after `last`.
fn follows(last: Option<&(u64, u64)>, sequence: u64) -> bool {
    last.is_none_or(|(_, last)| sequence > *last && sequence - last < SEQUENCE_GAP_MAX)
}

/// Why a batch can't be read.
#[derive(Debug)]
enum Fault {
    /// It ends early.
    Short,
    /// It is not a batch.
    Wrong,
    Io(std::io::Error),
}

/// A reader that knows its place.
struct Counted<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Counted<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> std::result::Result<(), Fault> {
        match self.inner.read_exact(bytes) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Fault::Short),
            Err(error) => Err(Fault::Io(error)),
        }
    }

    fn array<const N: usize>(&mut self) -> std::result::Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads one batch and checks it; its sequence number.
fn read_batch<R: Read>(reader: &mut Counted<R>) -> std::result::Result<u64, Fault> {
    if reader.array::<1>()? != [1] {
        return Err(Fault::Wrong);
    }
    let items = u32::from_le_bytes(reader.array()?);
    let sequence = u64::from_le_bytes(reader.array()?);
    let mut hasher = Xxh3::new();
    let mut buffer = Vec::new();
    for _ in 0..items {
        read_item(reader, &mut hasher, &mut buffer)?;
    }
    if reader.array::<1>()? != [3] {
        return Err(Fault::Wrong);
    }
    let checksum = u64::from_le_bytes(reader.array()?);
    if &reader.array::<4>()? != TRAILER || checksum != hasher.digest() {
        return Err(Fault::Wrong);
    }
    Ok(sequence)
}

fn read_item<R: Read>(
    reader: &mut Counted<R>,
    hasher: &mut Xxh3,
    buffer: &mut Vec<u8>,
) -> std::result::Result<(), Fault> {
    let [tag] = reader.array()?;
    hasher.update(&[tag]);
    match tag {
        2 => {
            let head: [u8; 20] = reader.array()?;
            hasher.update(&head);
            let [kind, compression, .., k0, k1, v0, v1, v2, v3, s0, s1, s2, s3] = head;
            let key = usize::from(u16::from_le_bytes([k0, k1]));
            let value = u32::from_le_bytes([v0, v1, v2, v3]);
            let stored = u32::from_le_bytes([s0, s1, s2, s3]);
            let length = value as usize;
            if kind > 2 || compression != 0 || value != stored || length > VALUE_MAX {
                return Err(Fault::Wrong);
            }
            buffer.resize(key + length, 0);
            reader.fill(buffer)?;
            hasher.update(buffer);
            Ok(())
        }
        4 => {
            hasher.update(&reader.array::<8>()?);
            Ok(())
        }
        _ => Err(Fault::Wrong),
    }
}

/// What follows the good data.
fn diagnose(path: &Path, last: Option<&(u64, u64)>) -> std::io::Result<End> {
    let good_end = last.map_or(0, |(end, _)| *end);
    let mut file = File::open(path)?;
    let end = end_of_data(&mut file, good_end)?;
    if end <= good_end {
        return Ok(End::Clean);
    }
    file.seek(SeekFrom::Start(good_end))?;
    let mut rest = Vec::new();
    file.take(end - good_end).read_to_end(&mut rest)?;
    if has_batch(&rest) {
        return Ok(End::DamagedMiddle);
    }
    let ends_early = matches!(read_batch(&mut Counted { inner: rest.as_slice(), at: 0 }), Err(Fault::Short))
        && !rest.ends_with(TRAILER);
    Ok(if ends_early || has_empty_sector(&rest, good_end) { End::Torn } else { End::DamagedLast })
}

/// Where the zeros at the file's end begin; not before `from`.
fn end_of_data(file: &mut File, from: u64) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let mut chunk = vec![0; 256 << 10];
    let (mut at, mut end) = (from, from);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(end);
        }
        let bytes = chunk.get(..read).unwrap_or_default();
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += read as u64;
    }
}

/// Whether a whole, good batch lies anywhere in what follows the good data. At its very beginning, it is one whose
/// sequence number does not fit: that, or the one before it, is damaged.
fn has_batch(rest: &[u8]) -> bool {
    (0..rest.len()).filter(|start| rest.get(*start) == Some(&1)).any(|start| {
        let inner = rest.get(start..).unwrap_or_default();
        read_batch(&mut Counted { inner, at: 0 }).is_ok()
    })
}

/// Whether some sector's part of the bytes, which begin at `offset`, is all zeros.
fn has_empty_sector(bytes: &[u8], offset: u64) -> bool {
    let first = usize::try_from(SECTOR - offset % SECTOR).unwrap_or(0).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let sectors = rest.chunks(usize::try_from(SECTOR).unwrap_or(512));
    std::iter::once(head).chain(sectors).any(|part| !part.is_empty() && part.iter().all(|byte| *byte == 0))
}

/// Copies what lies behind `offset` beside the journal, then cuts it off.
fn cut_off(path: &Path, offset: u64) -> std::io::Result<()> {
    let copy = path.with_extension(format!("jnl.torn-at-{offset}"));
    match copy_tail(path, offset, &copy) {
        Ok(()) => tracing::warn!(
            journal = %path.display(), offset, copy = %copy.display(),
            "cut a torn batch off the journal; it was never acknowledged"
        ),
        // A full disk is no reason to refuse: the batch was not acknowledged.
        Err(error) => tracing::warn!(
            journal = %path.display(), offset, %error,
            "cut a torn batch off the journal; it was never acknowledged, and could not be copied"
        ),
    }
    truncate(path, offset)
}

fn copy_tail(path: &Path, offset: u64, copy: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let end = end_of_data(&mut file, offset)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(end - offset).read_to_end(&mut bytes)?;
    drop_old_copies(path)?;
    let mut copy = File::create(copy)?;
    copy.write_all(&bytes)?;
    copy.sync_all()
}

fn drop_old_copies(path: &Path) -> std::io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().contains(".jnl.torn-at-") {
            copies.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    copies.sort();
    let surplus = (copies.len() + 1).saturating_sub(COPIES_KEPT);
    copies.iter().take(surplus).try_for_each(|(_, old)| std::fs::remove_file(old))
}

fn truncate(path: &Path, length: u64) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    file.sync_all()
}
