//! The one thread that writes: group commit.
//!
//! It takes what waits, applies each write to a batch, commits the batch with one sync, and then answers all. While
//! one batch is on its way to the disk, the next one gathers.
//!
//! After a failed sync nobody knows what is on disk, so nothing more is written until a restart
//! ([`Health::Poisoned`]). A disk without room is different: the batch is refused, and once there is room again, what
//! it may have left in the journal is cut off and the database opened anew ([`Health::Full`]).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::{Core, Health};
use super::queue::{Operation, Refusal};
use super::tables::{Tables, is_full};
use super::txn::{Appeared, Effects, Txn};
use crate::ErrorKind;

/// How often a full disk is looked at again.
const RETRY: Duration = Duration::from_secs(1);
/// With less than this free, a background failure is taken for a full disk: writing out and compacting need room.
const LOOKS_FULL_BYTES: u64 = 1 << 30;
/// Room that opening anew needs besides the reserve.
const REOPEN_BYTES: u64 = 4 << 20;

/// The writer's own state.
pub(super) struct Writer {
    core: Arc<Core>,
    /// The database must be opened anew, without batches from this sequence number on.
    broken_from: Option<u64>,
    tried: Option<Instant>,
    poisoned: Option<Refusal>,
}

/// Tells those who wait that nobody will answer, should the writer end by a panic.
struct AbandonOnExit(Arc<Core>);

impl Drop for AbandonOnExit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_health(Health::Poisoned);
        }
        self.0.queue.abandon();
    }
}

impl Writer {
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, broken_from: None, tried: None, poisoned: None }
    }

    /// Writes until the queue is closed and empty.
    pub fn run(mut self) {
        let _abandon = AbandonOnExit(self.core.clone());
        loop {
            let (bytes, batch) =
                self.core.queue.take(self.core.options.batch_ops, self.core.options.batch_bytes);
            if batch.is_empty() {
                return;
            }
            self.write(bytes, batch);
        }
    }

    fn write(&mut self, bytes: usize, mut batch: Vec<Box<dyn Operation>>) {
        if let Err(refusal) = self.admit(bytes) {
            answer(batch, Some(&refusal));
            return;
        }
        let core = self.core.clone();
        let outcome = core.with_tables(|tables| {
            if let Err(error) = tables.rotate_full() {
                return Err(self.fault(tables, None, &error));
            }
            let mut txn = Txn::new(tables);
            for operation in &mut batch {
                operation.run(&mut txn);
            }
            #[cfg(feature = "mutants")]
            if core.options.acknowledge_early {
                answer(std::mem::take(&mut batch), None);
            }
            if txn.is_empty() {
                return Ok(());
            }
            let sequence = tables.database.seqno();
            match txn.commit(core.backlog.load(Relaxed)) {
                Ok(effects) => {
                    self.settle(effects, batch.len());
                    Ok(())
                }
                Err(error) => Err(self.fault(tables, Some(sequence), &error)),
            }
        });
        let refusal = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => Some(refusal),
            Err(error) => Some(Refusal { kind: error.kind(), message: error.to_string() }),
        };
        answer(batch, refusal.as_ref());
    }

    /// Makes a batch's effects seen in memory.
    fn settle(&self, effects: Effects, operations: usize) {
        let core = &self.core;
        for row in effects.appeared {
            match row {
                Appeared::Due(slot, at) => core.due_mark(slot).row_at(at),
                Appeared::Claim(at) => core.claims.row_at(at),
                Appeared::Ending(at) => core.endings.row_at(at),
            }
        }
        let backlog = core.backlog.load(Relaxed).saturating_add_signed(effects.backlog);
        core.backlog.store(backlog, Relaxed);
        core.commits.fetch_add(1, Relaxed);
        core.operations.fetch_add(operations as u64, Relaxed);
    }

    /// Whether a batch may be written now.
    fn admit(&mut self, bytes: usize) -> Result<(), Refusal> {
        if let Some(refusal) = &self.poisoned {
            return Err(refusal.clone());
        }
        let reserve = self.core.options.reserve_bytes.saturating_add(2 * bytes as u64);
        let free = self.core.directory.free_bytes().unwrap_or(u64::MAX);
        if free < reserve {
            self.core.set_health(Health::Full);
            return Err(self.no_room(reserve));
        }
        if let Some(sequence) = self.broken_from {
            self.reopen(sequence, free, reserve)?;
        }
        self.core.set_health(Health::Good);
        Ok(())
    }

    fn no_room(&self, needed: u64) -> Refusal {
        let path = self.core.directory.path().display();
        let mib = needed.div_ceil(1 << 20);
        Refusal {
            kind: ErrorKind::Full,
            message: format!("the disk of {path} is full: {mib} MiB must be free to write"),
        }
    }

    /// Opens the database anew after the disk was full.
    fn reopen(&mut self, sequence: u64, free: u64, reserve: u64) -> Result<(), Refusal> {
        let wait = self.tried.is_some_and(|tried| tried.elapsed() < RETRY);
        if wait || free < reserve.saturating_add(REOPEN_BYTES) {
            return Err(self.no_room(reserve.saturating_add(REOPEN_BYTES)));
        }
        self.tried = Some(Instant::now());
        match self.core.reopen(sequence) {
            Ok(()) => {
                tracing::info!("the disk has room again; the database is open anew");
                self.broken_from = None;
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "could not open the database anew after the disk was full");
                Err(Refusal { kind: ErrorKind::Full, message: error.to_string() })
            }
        }
    }

    /// Decides what an error of the database means for the writes to come. `sequence` is that of the batch which
    /// failed, if it may have left something in the journal.
    fn fault(&mut self, tables: &Tables, sequence: Option<u64>, error: &fjall::Error) -> Refusal {
        let free = self.core.directory.free_bytes().unwrap_or(u64::MAX);
        let background = matches!(error, fjall::Error::Poisoned);
        if is_full(error) || (background && free < LOOKS_FULL_BYTES) {
            tracing::error!(%error, free, "the disk is full: no more writes until there is room");
            self.broken_from = Some(sequence.unwrap_or_else(|| tables.database.seqno()));
            // The first look comes after a while: background work that failed has just let go of its room.
            self.tried = Some(Instant::now());
            self.core.set_health(Health::Full);
            return self.no_room(self.core.options.reserve_bytes.saturating_add(REOPEN_BYTES));
        }
        tracing::error!(%error, "a write or sync failed: no more writes until restart");
        let refusal = Refusal {
            kind: ErrorKind::Poisoned,
            message: format!("writing to disk failed, so nothing more is written until a restart: {error}"),
        };
        self.poisoned = Some(refusal.clone());
        self.core.set_health(Health::Poisoned);
        refusal
    }
}

fn answer(batch: Vec<Box<dyn Operation>>, refusal: Option<&Refusal>) {
    for operation in batch {
        operation.answer(refusal);
    }
}
