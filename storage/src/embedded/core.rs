//! What the store's handle and its writer share.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{PoisonError, RwLock};

use super::directory::Directory;
use super::journal;
use super::options::EmbeddedOptions;
use super::queue::Queue;
use super::rows::decode_numbers;
use super::tables::{Space, Tables};
use super::txn::backlog_key;
use super::watermark::Watermark;
use crate::{ErrorKind, Result, SLOTS, StorageError};

/// Whether the store takes writes. Reads always go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Yes.
    Good,
    /// Not until the disk has room.
    Full,
    /// Not until a restart.
    Poisoned,
}

pub(super) struct Core {
    pub options: EmbeddedOptions,
    /// `None` only while the database is opened anew.
    tables: RwLock<Option<Tables>>,
    pub queue: Queue,
    due: Vec<Watermark>,
    pub claims: Watermark,
    pub endings: Watermark,
    pub backlog: AtomicU64,
    pub commits: AtomicU64,
    pub operations: AtomicU64,
    health: AtomicU8,
    /// Last: the lock goes after the database is closed.
    pub directory: Directory,
}

impl Core {
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self> {
        let directory = Directory::hold(path)?;
        directory.ensure_database(|new| Tables::create(new, &options))?;
        journal::check(&directory.database(), options.accept_damaged_tail)?;
        let tables = Tables::open(&directory.database(), &options)?;
        let backlog = read_backlog(&tables)?;
        Ok(Self {
            queue: Queue::new(options.queue_ops, options.queue_bytes),
            options,
            tables: RwLock::new(Some(tables)),
            due: std::iter::repeat_with(Watermark::default).take(SLOTS.into()).collect(),
            claims: Watermark::default(),
            endings: Watermark::default(),
            backlog: AtomicU64::new(backlog),
            commits: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            health: AtomicU8::new(Health::Good as u8),
            directory,
        })
    }

    /// Closes the database, cuts off what was refused, and opens it again.
    pub fn reopen(&self, from_sequence: u64) -> Result<()> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        *tables = None;
        let database = self.directory.database();
        journal::cut_from(&database, from_sequence)?;
        let fresh = Tables::open(&database, &self.options)?;
        self.backlog.store(read_backlog(&fresh)?, Relaxed);
        *tables = Some(fresh);
        Ok(())
    }

    /// Calls with the open database.
    pub fn with_tables<T>(&self, call: impl FnOnce(&Tables) -> T) -> Result<T> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match &*tables {
            Some(tables) => Ok(call(tables)),
            None => Err(StorageError::new(
                ErrorKind::Unavailable,
                "the database is closed: the disk was full, and opening it again has failed so far",
            )),
        }
    }

    /// Reads from the open database.
    pub fn read<T>(&self, read: impl FnOnce(&Tables) -> Result<T>) -> Result<T> {
        self.with_tables(read)?
    }

    /// The watermark of a slot, which is below [`SLOTS`].
    pub fn due_mark(&self, slot: u16) -> &Watermark {
        &self.due[usize::from(slot % SLOTS)]
    }

    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            0 => Health::Good,
            1 => Health::Full,
            _ => Health::Poisoned,
        }
    }

    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Relaxed);
    }
}

fn read_backlog(tables: &Tables) -> Result<u64> {
    let row = tables.get(Space::Meta, &backlog_key())?;
    let [backlog] = row.map_or(Ok([0]), |row| decode_numbers("backlog", &row))?;
    Ok(backlog)
}
