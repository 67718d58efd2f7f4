//! One batch being made: the database plus what earlier writes of the same batch have changed.

use std::collections::BTreeMap;

use fama_protocol::{AppId, UnixMs};
use fjall::{KvPair, PersistMode, UserKey, UserValue};

use super::keys::{self, Key, table};
use super::rows::encode_numbers;
use super::tables::{ALL_SPACES, SPACES, Space, Tables};
use super::work_rows::QueuedRow;
use crate::{OutboxRow, OutboxState, Result, Task, slot_of};

/// In the order of keys: a range reads them beside the database, and a memtable finds the place of each near that of the
/// one before.
type Changes = BTreeMap<UserKey, Option<UserValue>>;

/// A change of the current write, and what the batch had there before it.
struct Undo {
    space: Space,
    key: UserKey,
    before: Before,
}

enum Before {
    Nothing,
    Change(Option<UserValue>),
}

/// A row by time that appears with the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appeared {
    /// A due row of a slot.
    Due(u16, UnixMs),
    /// A claim.
    Claim(UnixMs),
    /// Something of an inbox that ends.
    Ending(UnixMs),
}

/// A batch.
pub(super) struct Txn<'a> {
    tables: &'a Tables,
    changes: [Changes; SPACES],
    /// What the current write replaced, to take it back if it fails half way.
    undo: Vec<Undo>,
    backlog: i64,
    appeared: Vec<Appeared>,
}

/// What a batch changes in memory once it is on disk.
pub(super) struct Effects {
    /// By how much the number of queued rows changes.
    pub backlog: i64,
    /// Rows by time that are new.
    pub appeared: Vec<Appeared>,
}

impl<'a> Txn<'a> {
    pub fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            changes: std::array::from_fn(|_| Changes::new()),
            undo: Vec::new(),
            backlog: 0,
            appeared: Vec::new(),
        }
    }

    /// Runs one write. If it fails, the batch is as it was before.
    pub fn attempt<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.undo.clear();
        let (backlog, appeared) = (self.backlog, self.appeared.len());
        let result = write(self);
        if result.is_err() {
            self.backlog = backlog;
            self.appeared.truncate(appeared);
            while let Some(Undo { space, key, before }) = self.undo.pop() {
                match before {
                    Before::Change(change) => self.changes[space as usize].insert(key, change),
                    Before::Nothing => self.changes[space as usize].remove(&key),
                };
            }
        }
        result
    }

    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<UserValue>> {
        match self.changes[space as usize].get(key) {
            Some(change) => Ok(change.clone()),
            None => self.tables.get(space, key),
        }
    }

    /// Rows from a key up to, not including, another, in order, at most `limit`.
    pub fn range(&self, space: Space, from: Vec<u8>, to: Vec<u8>, limit: usize) -> Result<Vec<KvPair>> {
        let to = if to < from { from.clone() } else { to };
        let changes = self.changes[space as usize].range(UserKey::from(&*from)..UserKey::from(&*to));
        let mut changes = changes.peekable();
        let mut rows = self.tables.view().range(space, from, to).peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let stored = match rows.peek() {
                Some(Ok((key, _))) => Some(key),
                Some(Err(_)) => return rows.next().transpose().map(|_| found),
                None => None,
            };
            match (changes.peek(), stored) {
                (Some((changed, _)), Some(stored)) if *changed > stored => {
                    found.extend(rows.next().transpose()?);
                }
                (Some((changed, _)), stored) => {
                    let replaced = stored == Some(*changed);
                    if let Some((key, Some(row))) = changes.next() {
                        found.push((key.clone(), row.clone()));
                    }
                    if replaced {
                        rows.next();
                    }
                }
                (None, Some(_)) => found.extend(rows.next().transpose()?),
                (None, None) => break,
            }
        }
        Ok(found)
    }

    pub fn put(&mut self, space: Space, key: Vec<u8>, row: Vec<u8>) {
        self.change(space, key, Some(row.into()));
    }

    pub fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.change(space, key, None);
    }

    fn change(&mut self, space: Space, key: Vec<u8>, row: Option<UserValue>) {
        let key = UserKey::from(key);
        let before = self.changes[space as usize].insert(key.clone(), row);
        let before = before.map_or(Before::Nothing, Before::Change);
        self.undo.push(Undo { space, key, before });
    }

    /// A claim has appeared.
    pub fn claimed(&mut self, at: UnixMs) {
        self.appeared.push(Appeared::Claim(at));
    }

    /// Something of an inbox that ends has appeared.
    pub fn ending(&mut self, at: UnixMs) {
        self.appeared.push(Appeared::Ending(at));
    }

    /// Owes work from now on.
    pub fn owe(&mut self, app: &AppId, task: Task, now: UnixMs) -> OutboxRow {
        let queued = QueuedRow { at: now, attempts: 0, task };
        self.queue_row(app, &queued);
        self.backlog += 1;
        queued.into_row(app)
    }

    /// Writes a queued row and its place by time.
    pub fn queue_row(&mut self, app: &AppId, queued: &QueuedRow) {
        let id = queued.task.row_id();
        let slot = slot_of(app, &id);
        self.put(Space::Work, keys::outbox(app, table::OUTBOX, &id), queued.encode());
        self.put(Space::Time, keys::due(slot, queued.at, app, &id), super::rows::empty_row());
        self.appeared.push(Appeared::Due(slot, queued.at));
    }

    /// Removes a queued row's place by time.
    pub fn unqueue(&mut self, app: &AppId, queued: &QueuedRow) {
        let id = queued.task.row_id();
        self.delete(Space::Time, keys::due(slot_of(app, &id), queued.at, app, &id));
    }

    /// Changes how many rows count as queued.
    pub fn count_backlog(&mut self, change: i64) {
        self.backlog += change;
    }

    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(BTreeMap::is_empty)
    }

    /// Writes the batch and syncs it. `backlog` is the number of queued rows before it.
    pub fn commit(self, backlog: u64) -> std::result::Result<Effects, fjall::Error> {
        let mut batch = self.tables.database.batch().durability(Some(PersistMode::SyncData));
        for (space, changes) in ALL_SPACES.into_iter().zip(self.changes) {
            let keyspace = self.tables.space(space);
            for (key, row) in changes {
                match row {
                    Some(row) => batch.insert(keyspace, key, row),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        if self.backlog != 0 {
            let row = encode_numbers([backlog.saturating_add_signed(self.backlog)]);
            batch.insert(self.tables.space(Space::Meta), backlog_key(), row);
        }
        batch.commit()?;
        Ok(Effects { backlog: self.backlog, appeared: self.appeared })
    }
}

/// The key of the number of queued rows.
pub(super) fn backlog_key() -> Vec<u8> {
    Key::global(table::BACKLOG).done()
}

impl QueuedRow {
    /// The row as others see it.
    pub fn into_row(self, app: &AppId) -> OutboxRow {
        OutboxRow {
            app: app.clone(),
            task: self.task,
            state: OutboxState::Queued { at: self.at, attempts: self.attempts },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedOptions;
    use crate::{ErrorKind, StorageError};

    #[test]
    fn a_write_that_fails_half_way_leaves_the_batch_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let options = EmbeddedOptions::default();
        Tables::create(&path, &options).unwrap();
        let tables = Tables::open(&path, &options).unwrap();
        let mut txn = Txn::new(&tables);
        let drain = |version| Task::Drain { author: fama_protocol::UserId::new("ann").unwrap(), version };
        let put =
            |txn: &mut Txn<'_>, key: &[u8], row: &[u8]| txn.put(Space::Misc, key.to_vec(), row.to_vec());
        let row = |txn: &Txn<'_>, key: &[u8]| txn.get(Space::Misc, key).unwrap().map(|row| row.to_vec());
        txn.attempt(|txn| {
            put(txn, b"kept", b"1");
            txn.owe(&AppId::default(), drain(1), UnixMs(1));
            Ok(())
        })
        .unwrap();
        let failed: Result<()> = txn.attempt(|txn| {
            put(txn, b"kept", b"2");
            put(txn, b"kept", b"3");
            put(txn, b"new", b"1");
            txn.delete(Space::Misc, b"kept".to_vec());
            txn.owe(&AppId::default(), drain(2), UnixMs(2));
            Err(StorageError::new(ErrorKind::Unavailable, "the disk failed"))
        });
        failed.unwrap_err();
        assert_eq!((row(&txn, b"kept"), row(&txn, b"new")), (Some(b"1".to_vec()), None));
        let effects = txn.commit(0).unwrap();
        assert_eq!((effects.backlog, effects.appeared.len()), (1, 1));
        let rows: Vec<_> =
            tables.view().range(Space::Misc, vec![0], vec![0xff]).map(Result::unwrap).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(tables.view().range(Space::Time, vec![0], vec![0xff]).count(), 1);
    }
}
