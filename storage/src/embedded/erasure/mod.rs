//! Erasures: passes over the whole store, until one finds nothing of the user.
//!
//! There is no index of what names a user: it would cost every write, and erasures are rare. A pass reads all rows of the
//! app outside of the writer, a part at a time, and has the writer look again at those that have the user's id in them.
//! The place is written in the same batch as what was done there, so that a step happens once.

mod row;
mod sift;

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use self::row::{Phase, Record};
use self::sift::{Kept, Sift};
use super::EmbeddedStore;
use super::keys::{self, Key, behind, just_after, table};
use super::tables::{Space, Tables};
use super::txn::Txn;
use super::work_rows::QueuedRow;
use crate::erasure::PASSES_MAX;
use crate::{Erasure, ErasureNext, ErasureStep, ErasureStore, OutboxRow, Result, Task};

/// Rows that a step reads.
const ROWS: usize = 4_000;
/// Bytes that a step reads, about.
const BYTES: usize = 4 << 20;
/// Rows that a step looks at again.
const FOUND: usize = 64;
/// Queued rows that may be looked through for the user's; with more work waiting, all of it is waited for.
const QUEUED: usize = 20_000;

/// Where a pass goes. The user's own posts come first: readers lose them at once.
const PLACES: [Space; 7] =
    [Space::Index, Space::Graph, Space::Misc, Space::Inbox, Space::Work, Space::Time, Space::Posts];

/// The keys of a place of the pass: its space, where it begins, where it ends.
fn place(app: &AppId, user: &UserId, number: usize) -> Option<(Space, Vec<u8>, Vec<u8>)> {
    let space = *PLACES.get(number)?;
    Some(match space {
        Space::Index => {
            let prefix = keys::author(app, user, false).done();
            (space, prefix.clone(), behind(prefix))
        }
        // Rows of all apps, by time.
        Space::Time => (space, vec![0], vec![0xff]),
        _ => {
            let mut prefix = app.as_str().as_bytes().to_vec();
            prefix.push(0);
            (space, prefix.clone(), behind(prefix))
        }
    })
}

/// What a step has read.
struct Part {
    /// Where it began.
    from: Vec<u8>,
    /// Keys of rows with the user's id.
    found: Vec<Vec<u8>>,
    /// Where the next part begins; `None`: the place is done.
    next: Option<Vec<u8>>,
    looked_at: u64,
}

fn has(bytes: &[u8], id: &[u8]) -> bool {
    bytes.windows(id.len()).any(|window| window == id)
}

/// Reads on from where the record is.
fn read_part(tables: &Tables, app: &AppId, user: &UserId, record: &Record) -> Result<Part> {
    let from = record.cursor.clone();
    let mut part = Part { from: from.clone(), found: Vec::new(), next: None, looked_at: 0 };
    let Some((space, begin, end)) = place(app, user, record.place) else { return Ok(part) };
    let id = user.as_str().as_bytes();
    let mut bytes = 0;
    let from = if from.is_empty() { begin } else { from };
    for row in tables.view().range(space, from, end) {
        let (key, value) = row?;
        part.looked_at += 1;
        bytes += key.len() + value.len();
        if has(&key, id) || has(&value, id) {
            part.found.push(key.to_vec());
        }
        if part.found.len() == FOUND || bytes > BYTES || part.looked_at == ROWS as u64 {
            part.next = Some(just_after(key.to_vec()));
            break;
        }
    }
    Ok(part)
}

/// Whether queued work names the user.
fn is_named_in_queue(tables: &Tables, app: &AppId, user: &UserId) -> Result<bool> {
    let prefix = Key::of(app, table::OUTBOX).done();
    let rows = tables.view().range(Space::Work, prefix.clone(), behind(prefix));
    for (number, row) in rows.enumerate() {
        let task = QueuedRow::decode(&row?.1)?.task;
        let own = matches!(&task, Task::Erase { .. });
        if number == QUEUED || (!own && task.names(user)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn begin(
    txn: &mut Txn<'_>,
    app: &AppId,
    user: &UserId,
    total: u64,
    now: UnixMs,
) -> Result<(Erasure, Option<OutboxRow>)> {
    let key = row::key(app, user);
    let old = Record::read(txn.get(Space::Misc, &key)?.as_deref())?;
    if let Some(running) = old.filter(|old| old.finished_at.is_none()) {
        let task = Task::Erase { user: user.clone(), version: running.started_at.0 };
        let queued = txn.get(Space::Work, &keys::outbox(app, table::OUTBOX, &task.row_id()))?;
        let queued = queued.map(|row| QueuedRow::decode(&row)).transpose()?;
        return Ok((running.view(), queued.map(|row| row.into_row(app))));
    }
    let record = Record::begin(now, total);
    txn.put(Space::Misc, key, record.encode());
    let owed = txn.owe(app, Task::Erase { user: user.clone(), version: now.0 }, now);
    Ok((record.view(), Some(owed)))
}

/// The record after the part that began at its place, and what was done.
fn apply(
    txn: &mut Txn<'_>,
    (app, user): (&AppId, &UserId),
    mut record: Record,
    part: &Part,
    now: UnixMs,
) -> Result<(Record, ErasureStep)> {
    let mut step = ErasureStep::default();
    let Some((space, _, _)) = place(app, user, record.place) else {
        record.end_pass(now);
        return Ok((record, step));
    };
    let mut sift = Sift { txn, app, user, now, since: record.pass_at, step: &mut step };
    let mut stopped = None;
    for key in &part.found {
        match sift.row(space, key)? {
            Kept::AsItWas => {}
            Kept::Changed => record.changed += 1,
            // The rest of it in another step.
            Kept::InPart => {
                record.changed += 1;
                stopped = Some(key.clone());
                break;
            }
        }
    }
    record.looked_at += part.looked_at;
    match stopped.or_else(|| part.next.clone()) {
        Some(next) => record.cursor = next,
        None => {
            if space == Space::Index {
                record.changed += sift.end_of_posts()?;
            }
            record.cursor.clear();
            record.place += 1;
        }
    }
    Ok((record, step))
}

impl EmbeddedStore {
    /// Moves an erasure from what was read, unless another step was quicker.
    async fn advance(
        &self,
        app: &AppId,
        user: &UserId,
        read: Record,
        part: Part,
        now: UnixMs,
    ) -> Result<ErasureStep> {
        let (app, user) = (app.clone(), user.clone());
        self.write(FOUND * 1_024, move |txn| {
            let key = row::key(&app, &user);
            let record = Record::read(txn.get(Space::Misc, &key)?.as_deref())?;
            let Some(record) = record.filter(|record| record.is_at(&read) && record.cursor == part.from)
            else {
                return Ok(ErasureStep::default());
            };
            let (record, mut step) = match record.phase {
                Phase::Settling => (record.begin_pass(now), ErasureStep::default()),
                Phase::Passing => apply(txn, (&app, &user), record, &part, now)?,
            };
            if record.finished_at.is_some() {
                step.next = ErasureNext::Done;
            }
            txn.put(Space::Misc, key, record.encode());
            Ok(step)
        })
        .await
    }
}

#[async_trait]
impl ErasureStore for EmbeddedStore {
    async fn begin_erasure(
        &self,
        app: &AppId,
        user: &UserId,
        now: UnixMs,
    ) -> Result<(Erasure, Option<OutboxRow>)> {
        let total = self.read(|tables| {
            let lens = PLACES.iter().map(|space| tables.space(*space).approximate_len() as u64);
            Ok(lens.sum())
        })?;
        let (app, user) = (app.clone(), user.clone());
        self.write(0, move |txn| begin(txn, &app, &user, total, now)).await
    }

    async fn erasure(&self, app: &AppId, user: &UserId) -> Result<Option<Erasure>> {
        let row = self.read(|tables| tables.get(Space::Misc, &row::key(app, user)))?;
        Ok(Record::read(row.as_deref())?.map(|record| record.view()))
    }

    async fn erase(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<ErasureStep> {
        let row = self.read(|tables| tables.get(Space::Misc, &row::key(app, user)))?;
        let record = Record::read(row.as_deref())?.filter(|record| record.finished_at.is_none());
        let Some(record) = record else {
            return Ok(ErasureStep { next: ErasureNext::Done, ..ErasureStep::default() });
        };
        if matches!(record.phase, Phase::Settling)
            && self.read(|tables| is_named_in_queue(tables, app, user))?
        {
            return Ok(ErasureStep { next: ErasureNext::Waiting, ..ErasureStep::default() });
        }
        let part = self.read(|tables| read_part(tables, app, user, &record))?;
        self.advance(app, user, record, part, now).await
    }
}

/// Whether another pass is due.
fn is_last(record: &Record) -> bool {
    record.changed == 0 || record.pass >= PASSES_MAX
}
