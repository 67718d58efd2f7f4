//! The outbox.

use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs};

use super::EmbeddedStore;
use super::codec::broken;
use super::keys::{self, Key, behind, table};
use super::rows::{check_limit, invalid};
use super::tables::Space;
use super::txn::Txn;
use super::work_rows::{QueuedRow, decode_set_aside, encode_set_aside};
use crate::{OutboxRow, OutboxState, OutboxStore, Result, RowId, SLOTS};

/// A reason keeps at most so many bytes.
const REASON_BYTES_MAX: usize = 1_000;

fn queued(txn: &Txn<'_>, app: &AppId, id: &RowId) -> Result<Option<QueuedRow>> {
    let row = txn.get(Space::Work, &keys::outbox(app, table::OUTBOX, id))?;
    row.map(|row| QueuedRow::decode(&row)).transpose()
}

/// Takes a queued row away, and its place by time.
fn remove(txn: &mut Txn<'_>, app: &AppId, id: &RowId, row: &QueuedRow) {
    txn.delete(Space::Work, keys::outbox(app, table::OUTBOX, id));
    txn.unqueue(app, row);
    txn.count_backlog(-1);
}

fn mark_done(txn: &mut Txn<'_>, app: &AppId, id: &RowId) -> Result<()> {
    if let Some(row) = queued(txn, app, id)? {
        remove(txn, app, id, &row);
        return Ok(());
    }
    let set_aside = keys::outbox(app, table::SET_ASIDE, id);
    if txn.get(Space::Work, &set_aside)?.is_some() {
        txn.delete(Space::Work, set_aside);
    }
    Ok(())
}

fn mark_queued(txn: &mut Txn<'_>, app: &AppId, id: &RowId, now: UnixMs) -> Result<()> {
    let Some(mut row) = queued(txn, app, id)?.filter(|row| row.at != now || row.attempts == 0) else {
        return Ok(());
    };
    txn.unqueue(app, &row);
    row.at = now;
    row.attempts = row.attempts.saturating_add(1);
    txn.queue_row(app, &row);
    Ok(())
}

fn quarantine(txn: &mut Txn<'_>, app: &AppId, id: &RowId, reason: &str) -> Result<()> {
    let key = keys::outbox(app, table::SET_ASIDE, id);
    if let Some(row) = queued(txn, app, id)? {
        remove(txn, app, id, &row);
        txn.put(Space::Work, key, encode_set_aside(reason, &row.task));
    } else if let Some(row) = txn.get(Space::Work, &key)? {
        let (_, task) = decode_set_aside(&row)?;
        txn.put(Space::Work, key, encode_set_aside(reason, &task));
    }
    Ok(())
}

fn replay(txn: &mut Txn<'_>, app: &AppId, id: &RowId, now: UnixMs) -> Result<Option<OutboxRow>> {
    let key = keys::outbox(app, table::SET_ASIDE, id);
    let Some(row) = txn.get(Space::Work, &key)? else { return Ok(None) };
    let (_, task) = decode_set_aside(&row)?;
    txn.delete(Space::Work, key);
    Ok(Some(txn.owe(app, task, now)))
}

/// At most so many bytes of a text, whole characters.
fn shortened(text: &str) -> String {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[async_trait]
impl OutboxStore for EmbeddedStore {
    async fn due(&self, slot: u16, before: UnixMs, limit: usize) -> Result<Vec<OutboxRow>> {
        check_limit(limit, 10_000)?;
        if slot >= SLOTS {
            return Err(invalid(format!("there are {SLOTS} slots, from 0; there is no slot {slot}")));
        }
        let mark = self.core().due_mark(slot);
        self.read(|tables| {
            let (from, ticket) = mark.begin();
            let to = behind(keys::due_from(slot, before).done());
            let view = tables.view();
            let mut rows = Vec::new();
            let mut first = None;
            for pair in view.range(Space::Time, keys::due_from(slot, from).done(), to) {
                let (at, app, id) = keys::parse_due(&pair?.0)?;
                first.get_or_insert(at);
                let row = view.get(Space::Work, &keys::outbox(&app, table::OUTBOX, &id))?;
                let row = QueuedRow::decode(&row.ok_or_else(|| broken("due"))?)?;
                rows.push(row.into_row(&app));
                if rows.len() == limit {
                    break;
                }
            }
            mark.raise(&ticket, first.unwrap_or(before.plus(1)));
            Ok(rows)
        })
    }

    async fn mark_done(&self, app: &AppId, id: &RowId) -> Result<()> {
        let (app, id) = (app.clone(), id.clone());
        self.write(0, move |txn| mark_done(txn, &app, &id)).await
    }

    async fn mark_queued(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<()> {
        let (app, id) = (app.clone(), id.clone());
        self.write(0, move |txn| mark_queued(txn, &app, &id, now)).await
    }

    async fn quarantine(&self, app: &AppId, id: &RowId, reason: &str) -> Result<()> {
        let (app, id, reason) = (app.clone(), id.clone(), shortened(reason));
        self.write(reason.len(), move |txn| quarantine(txn, &app, &id, &reason)).await
    }

    async fn quarantined(&self, app: &AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        check_limit(limit, 1_000)?;
        self.read(|tables| {
            let prefix = Key::of(app, table::SET_ASIDE).done();
            let rows = tables.view().range(Space::Work, prefix.clone(), behind(prefix));
            rows.take(limit)
                .map(|row| {
                    let (reason, task) = decode_set_aside(&row?.1)?;
                    let state = OutboxState::Quarantined { reason };
                    Ok(OutboxRow { app: app.clone(), task, state })
                })
                .collect()
        })
    }

    async fn replay(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<Option<OutboxRow>> {
        let (app, id) = (app.clone(), id.clone());
        self.write(0, move |txn| replay(txn, &app, &id, now)).await
    }

    async fn backlog(&self) -> Result<u64> {
        Ok(self.core().backlog.load(Relaxed))
    }
}
