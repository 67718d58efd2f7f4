//! The open database: keyspaces, point reads, consistent views.

use std::path::Path;
use std::time::Duration;

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, KvPair, LsmError, PersistMode, Readable,
    Snapshot, UserValue,
};

use super::keys::{Key, table};
use super::options::EmbeddedOptions;
use super::rows::{decode_numbers, encode_numbers};
use crate::{ErrorKind, Result, StorageError};

/// The store's format. A store with a higher one is not opened.
const FORMAT: u64 = 1;

/// The keyspaces. Rows that live and die together share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// Posts.
    Posts,
    /// Indexes of posts, and numbers about authors.
    Index,
    /// Edges, relations and their counts.
    Graph,
    /// Outbox and claims: rows that soon change or go.
    Work,
    /// The same by time.
    Time,
    /// Modes, reactions, profiles.
    Misc,
    /// What belongs to no app.
    Meta,
    /// Notifications.
    Inbox,
}

/// How many keyspaces there are.
pub(super) const SPACES: usize = 8;
/// All of them, in the order of their numbers.
pub(super) const ALL_SPACES: [Space; SPACES] = [
    Space::Posts,
    Space::Index,
    Space::Graph,
    Space::Work,
    Space::Time,
    Space::Misc,
    Space::Meta,
    Space::Inbox,
];

impl Space {
    fn name(self) -> &'static str {
        match self {
            Self::Posts => "posts",
            Self::Index => "index",
            Self::Graph => "graph",
            Self::Work => "work",
            Self::Time => "time",
            Self::Misc => "misc",
            Self::Meta => "meta",
            Self::Inbox => "inbox",
        }
    }
}

/// The database and its keyspaces.
pub(super) struct Tables {
    pub database: Database,
    spaces: Vec<Keyspace>,
    memtable_bytes: u64,
}

impl Tables {
    /// Makes a database with all keyspaces and its format.
    pub fn create(path: &Path, options: &EmbeddedOptions) -> Result<()> {
        let tables = Self::attach(path, options)?;
        let mut batch = tables.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(tables.space(Space::Meta), format_key(), encode_numbers([FORMAT]));
        batch.commit().map_err(|error| failure("can't make the database", error))
    }

    /// Opens a database and checks its format.
    pub fn open(path: &Path, options: &EmbeddedOptions) -> Result<Self> {
        let tables = Self::attach(path, options)?;
        let Some(row) = tables.get(Space::Meta, &format_key())? else {
            return Err(StorageError::new(
                ErrorKind::Corrupt,
                format!("{} has no format row: it is not a database of this program", path.display()),
            ));
        };
        let [format] = decode_numbers("format", &row)?;
        if format > FORMAT {
            return Err(StorageError::new(
                ErrorKind::Invalid,
                format!(
                    "the database {} has format {format}, and this program knows formats up to {FORMAT}: \
                     run the newer program that wrote it",
                    path.display()
                ),
            ));
        }
        Ok(tables)
    }

    fn attach(path: &Path, options: &EmbeddedOptions) -> Result<Self> {
        let context = format!("can't open the database {}", path.display());
        let database = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(64 << 20))
            .worker_threads(options.worker_threads.max(1))
            .open()
            .map_err(|error| failure(&context, error))?;
        // Memtables are rotated by `rotate_full`: left to itself, the database asks its one worker at each commit over
        // the limit, and a long compaction lets those requests fill the queue that the worker itself must write to.
        let space_options = || KeyspaceCreateOptions::default().max_memtable_size(u64::MAX);
        let spaces = ALL_SPACES
            .iter()
            .map(|space| database.keyspace(space.name(), space_options))
            .collect::<fjall::Result<Vec<_>>>()
            .map_err(|error| failure(&context, error))?;
        Ok(Self { database, spaces, memtable_bytes: options.memtable_bytes })
    }

    pub fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    /// One row as it is now. Only rows on disk are seen.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<UserValue>> {
        self.space(space).get(key).map_err(|error| failure("can't read a row", error))
    }

    /// All rows as of one moment.
    pub fn view(&self) -> View<'_> {
        View { tables: self, snapshot: self.database.snapshot() }
    }

    /// Writes memtables out that have reached their size. Waits where the disk can't keep up; an error means that it
    /// never will.
    pub fn rotate_full(&self) -> std::result::Result<(), fjall::Error> {
        for space in &self.spaces {
            // The database itself waits for its worker at 4 sealed memtables or 30 runs, and forever if the worker
            // has died: so it must never come to that.
            let mut waited = 0_u32;
            loop {
                let size = space.tree.active_memtable().size();
                let sealed = space.sealed_memtable_count();
                if size >= self.memtable_bytes && sealed < 2 {
                    space.rotate_memtable()?;
                }
                let behind = size >= self.memtable_bytes.saturating_mul(4) && sealed >= 2;
                if !behind && space.tree.l0_run_count() < 24 {
                    break;
                }
                if waited.is_multiple_of(100) {
                    self.check_alive()?;
                }
                waited += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// An error if the database takes no more writes.
    pub fn check_alive(&self) -> std::result::Result<(), fjall::Error> {
        self.database.persist(PersistMode::Buffer)
    }
}

fn format_key() -> Vec<u8> {
    Key::global(table::FORMAT).done()
}

/// All rows as of one moment.
pub(super) struct View<'a> {
    tables: &'a Tables,
    snapshot: Snapshot,
}

impl View<'_> {
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<UserValue>> {
        self.snapshot.get(self.tables.space(space), key).map_err(|error| failure("can't read a row", error))
    }

    /// Rows from a key up to, not including, another.
    pub fn range(
        &self,
        space: Space,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> impl DoubleEndedIterator<Item = Result<KvPair>> + use<> {
        // A range that ends before it begins is a bug to the tree; here it is empty.
        let to = if to < from { from.clone() } else { to };
        self.snapshot
            .range(self.tables.space(space), from..to)
            .map(|row| row.into_inner().map_err(|error| failure("can't read rows", error)))
    }
}

/// The I/O error at the bottom of an error.
fn io_cause(error: &fjall::Error) -> Option<&std::io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

/// Whether the disk had no room.
pub(super) fn is_full(error: &fjall::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    io_cause(error).is_some_and(|cause| matches!(cause.kind(), StorageFull | QuotaExceeded))
}

/// Our error for the database's.
pub(super) fn failure(context: &str, error: fjall::Error) -> StorageError {
    let kind = match &error {
        _ if is_full(&error) => ErrorKind::Full,
        _ if io_cause(&error).is_some() => ErrorKind::Unavailable,
        fjall::Error::Locked => ErrorKind::Unavailable,
        fjall::Error::Poisoned => ErrorKind::Poisoned,
        fjall::Error::InvalidVersion(_) => ErrorKind::Invalid,
        _ => ErrorKind::Corrupt,
    };
    StorageError::with_source(kind, format!("{context}: {error}"), error)
}
