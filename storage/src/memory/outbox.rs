//! The outbox and idempotency records.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::{App, Claimed, MemoryStore, check_limit, check_text, invalid};
use crate::idempotency::{KEPT_MS, TAKEOVER_MS};
use crate::{
    Claim, ErrorKind, IdempotencyStore, OutboxRow, OutboxState, OutboxStore, RequestKey, Result, RowId,
    SLOTS, StorageError, StoredResponse, slot_of,
};

/// An answer's body is at most so large.
const BODY_BYTES_MAX: usize = 256 << 10;
/// A reason keeps at most so many bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// At most so many bytes of a text, whole characters.
fn shortened(text: &str) -> String {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn due(&self, slot: u16, before: UnixMs, limit: usize) -> Result<Vec<OutboxRow>> {
        check_limit(limit, 10_000)?;
        if slot >= SLOTS {
            return Err(invalid(format!("there are {SLOTS} slots, from 0; there is no slot {slot}")));
        }
        self.all(|state| {
            let mut due: Vec<_> = state
                .apps
                .iter()
                .flat_map(|(app, rows)| rows.queued.iter().map(move |(id, row)| (app, id, row)))
                .filter(|(app, id, row)| row.at <= before && slot_of(app, id) == slot)
                .collect();
            due.sort_by_key(|(_, _, row)| row.at);
            Ok(due.into_iter().take(limit).map(|(app, _, row)| row.clone().into_row(app)).collect())
        })
    }

    async fn mark_done(&self, app: &AppId, id: &RowId) -> Result<()> {
        self.app(app, |rows| {
            rows.queued.remove(id);
            rows.aside.remove(id);
        });
        Ok(())
    }

    async fn mark_queued(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<()> {
        self.app(app, |rows| {
            if let Some(row) = rows.queued.get_mut(id).filter(|row| row.at != now || row.attempts == 0) {
                row.at = now;
                row.attempts = row.attempts.saturating_add(1);
            }
        });
        Ok(())
    }

    async fn quarantine(&self, app: &AppId, id: &RowId, reason: &str) -> Result<()> {
        let reason = shortened(reason);
        self.app(app, |rows| {
            if let Some(row) = rows.queued.remove(id) {
                rows.aside.insert(id.clone(), (row.task, reason));
            } else if let Some(aside) = rows.aside.get_mut(id) {
                aside.1 = reason;
            }
        });
        Ok(())
    }

    async fn quarantined(&self, app: &AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        check_limit(limit, 1_000)?;
        self.app(app, |rows| {
            let aside = rows.aside.values().take(limit).cloned();
            let row = |(task, reason)| {
                let state = OutboxState::Quarantined { reason };
                OutboxRow { app: app.clone(), task, state }
            };
            Ok(aside.map(row).collect())
        })
    }

    async fn replay(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<Option<OutboxRow>> {
        self.app(app, |rows| {
            let aside = rows.aside.remove(id);
            Ok(aside.map(|(task, _)| rows.owe(app, task, now)))
        })
    }

    async fn backlog(&self) -> Result<u64> {
        self.all(|state| Ok(state.apps.values().map(|rows| rows.queued.len() as u64).sum()))
    }
}

/// Checks what comes from a caller.
pub(super) fn check_request(key: &RequestKey, response: Option<&StoredResponse>) -> Result<()> {
    check_text("a route", &key.route)?;
    if !(1..=255).contains(&key.key.len()) || !key.key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("a key has 1 to 255 visible ASCII characters"));
    }
    if response.is_some_and(|response| response.body.len() > BODY_BYTES_MAX) {
        return Err(invalid(format!("an answer to keep has at most {BODY_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn row_key(key: &RequestKey) -> (UserId, String, String) {
    (key.user.clone(), key.route.clone(), key.key.clone())
}

/// Completes a claim that must still hold this id.
pub(super) fn complete_held(
    rows: &mut App,
    key: &RequestKey,
    id: PostId,
    response: &StoredResponse,
) -> Result<()> {
    match rows.claims.get_mut(&row_key(key)) {
        Some(claim) if claim.id == id && claim.response.is_none() => {
            claim.response = Some(response.clone());
            Ok(())
        }
        _ => Err(StorageError::new(
            ErrorKind::Conflict,
            "the request was claimed by another meanwhile, or given back",
        )),
    }
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn claim(
        &self,
        app: &AppId,
        key: &RequestKey,
        hash: [u8; 32],
        id: PostId,
        now: UnixMs,
    ) -> Result<Claim> {
        check_request(key, None)?;
        self.app(app, |rows| {
            let old = rows.claims.get(&row_key(key)).filter(|old| now.since(old.at) < KEPT_MS);
            let mut granted = id;
            let taken_over = old.is_some();
            if let Some(old) = old {
                if old.hash != hash {
                    return Ok(Claim::Mismatch);
                }
                if let Some(response) = &old.response {
                    return Ok(Claim::Done(response.clone()));
                }
                if old.id == id {
                    return Ok(Claim::Granted { id, taken_over: false });
                }
                if now.since(old.at) < TAKEOVER_MS {
                    return Ok(Claim::Running);
                }
                if rows.posts.contains_key(&old.id) {
                    granted = old.id;
                }
            }
            rows.claims.insert(row_key(key), Claimed { hash, id: granted, at: now, response: None });
            Ok(Claim::Granted { id: granted, taken_over })
        })
    }

    async fn complete(
        &self,
        app: &AppId,
        key: &RequestKey,
        response: &StoredResponse,
        _now: UnixMs,
    ) -> Result<()> {
        check_request(key, Some(response))?;
        self.app(app, |rows| {
            if let Some(claim) = rows.claims.get_mut(&row_key(key)) {
                claim.response.get_or_insert_with(|| response.clone());
            }
        });
        Ok(())
    }

    async fn abandon(&self, app: &AppId, key: &RequestKey, id: PostId) -> Result<()> {
        check_request(key, None)?;
        self.app(app, |rows| {
            let key = row_key(key);
            if rows.claims.get(&key).is_some_and(|claim| claim.id == id && claim.response.is_none()) {
                rows.claims.remove(&key);
            }
        });
        Ok(())
    }

    async fn expire(&self, now: UnixMs, limit: usize) -> Result<usize> {
        check_limit(limit, 10_000)?;
        let Some(until) = now.0.checked_sub(KEPT_MS) else { return Ok(0) };
        self.all(|state| {
            let mut removed = 0;
            for rows in state.apps.values_mut() {
                rows.claims.retain(|_, claim| {
                    let goes = claim.at.0 <= until && removed < limit;
                    removed += usize::from(goes);
                    !goes
                });
            }
            Ok(removed)
        })
    }
}
