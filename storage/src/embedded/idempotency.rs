//! Idempotency records.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs};

use super::EmbeddedStore;
use super::keys::{self, behind, check_text};
use super::rows::{check_limit, empty_row, invalid};
use super::tables::Space;
use super::txn::Txn;
use super::work_rows::ClaimRow;
use crate::idempotency::{KEPT_MS, TAKEOVER_MS};
use crate::{Claim, ErrorKind, IdempotencyStore, RequestKey, Result, StorageError, StoredResponse};

/// An answer's body is at most so large.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Checks what comes from a caller.
pub(super) fn check(key: &RequestKey, response: Option<&StoredResponse>) -> Result<()> {
    check_text("a route", &key.route)?;
    if !(1..=255).contains(&key.key.len()) || !key.key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("a key has 1 to 255 visible ASCII characters"));
    }
    if response.is_some_and(|response| response.body.len() > BODY_BYTES_MAX) {
        return Err(invalid(format!("an answer to keep has at most {BODY_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn record(txn: &Txn<'_>, app: &AppId, key: &RequestKey) -> Result<Option<ClaimRow>> {
    let row = txn.get(Space::Work, &keys::claim(app, key))?;
    row.map(|row| ClaimRow::decode(&row)).transpose()
}

fn claim(
    txn: &mut Txn<'_>,
    app: &AppId,
    key: &RequestKey,
    hash: [u8; 32],
    id: PostId,
    now: UnixMs,
) -> Result<Claim> {
    let old = record(txn, app, key)?;
    let live = old.as_ref().filter(|old| now.since(old.at) < KEPT_MS);
    let mut new = ClaimRow { hash, id, at: now, response: None };
    let mut taken_over = false;
    if let Some(live) = live {
        if live.hash != hash {
            return Ok(Claim::Mismatch);
        }
        if let Some(response) = &live.response {
            return Ok(Claim::Done(response.clone()));
        }
        if live.id == id {
            return Ok(Claim::Granted { id, taken_over: false });
        }
        if now.since(live.at) < TAKEOVER_MS {
            return Ok(Claim::Running);
        }
        taken_over = true;
        if txn.get(Space::Posts, &keys::post(app, live.id))?.is_some() {
            new.id = live.id;
        }
    }
    if let Some(old) = &old {
        txn.delete(Space::Time, keys::claimed_at(old.at, app, key));
    }
    txn.put(Space::Work, keys::claim(app, key), new.encode());
    txn.put(Space::Time, keys::claimed_at(now, app, key), empty_row());
    txn.claimed(now);
    Ok(Claim::Granted { id: new.id, taken_over })
}

fn complete(txn: &mut Txn<'_>, app: &AppId, key: &RequestKey, response: StoredResponse) -> Result<()> {
    if let Some(mut row) = record(txn, app, key)?.filter(|row| row.response.is_none()) {
        row.response = Some(response);
        txn.put(Space::Work, keys::claim(app, key), row.encode());
    }
    Ok(())
}

/// Completes a claim that must still hold this id.
pub(super) fn complete_held(
    txn: &mut Txn<'_>,
    app: &AppId,
    key: &RequestKey,
    id: PostId,
    response: StoredResponse,
) -> Result<()> {
    match record(txn, app, key)? {
        Some(mut row) if row.id == id && row.response.is_none() => {
            row.response = Some(response);
            txn.put(Space::Work, keys::claim(app, key), row.encode());
            Ok(())
        }
        _ => Err(StorageError::new(
            ErrorKind::Conflict,
            "the request was claimed by another meanwhile, or given back",
        )),
    }
}

fn abandon(txn: &mut Txn<'_>, app: &AppId, key: &RequestKey, id: PostId) -> Result<()> {
    let held = record(txn, app, key)?.filter(|row| row.id == id && row.response.is_none());
    if let Some(row) = held {
        txn.delete(Space::Work, keys::claim(app, key));
        txn.delete(Space::Time, keys::claimed_at(row.at, app, key));
    }
    Ok(())
}

/// Removes one record by its place in time, unless it was claimed anew meanwhile, which moved it.
fn remove_expired(txn: &mut Txn<'_>, place: &[u8]) -> Result<bool> {
    if txn.get(Space::Time, place)?.is_none() {
        return Ok(false);
    }
    let (_at, claim_key) = keys::parse_claimed_at(place)?;
    txn.delete(Space::Time, place.to_vec());
    txn.delete(Space::Work, claim_key);
    Ok(true)
}

#[async_trait]
impl IdempotencyStore for EmbeddedStore {
    async fn claim(
        &self,
        app: &AppId,
        key: &RequestKey,
        hash: [u8; 32],
        id: PostId,
        now: UnixMs,
    ) -> Result<Claim> {
        check(key, None)?;
        let (app, key) = (app.clone(), key.clone());
        self.write(0, move |txn| claim(txn, &app, &key, hash, id, now)).await
    }

    async fn complete(
        &self,
        app: &AppId,
        key: &RequestKey,
        response: &StoredResponse,
        _now: UnixMs,
    ) -> Result<()> {
        check(key, Some(response))?;
        let (app, key, response) = (app.clone(), key.clone(), response.clone());
        self.write(response.body.len(), move |txn| complete(txn, &app, &key, response)).await
    }

    async fn abandon(&self, app: &AppId, key: &RequestKey, id: PostId) -> Result<()> {
        check(key, None)?;
        let (app, key) = (app.clone(), key.clone());
        self.write(0, move |txn| abandon(txn, &app, &key, id)).await
    }

    async fn expire(&self, now: UnixMs, limit: usize) -> Result<usize> {
        check_limit(limit, 10_000)?;
        let Some(until) = now.0.checked_sub(KEPT_MS) else { return Ok(0) };
        let until = UnixMs(until);
        let claims = &self.core().claims;
        let places = self.read(|tables| {
            let (from, ticket) = claims.begin();
            let to = behind(keys::claimed_from(until).done());
            let rows = tables.view().range(Space::Time, keys::claimed_from(from).done(), to);
            let places: Vec<_> = rows.take(limit).map(|row| Ok(row?.0.to_vec())).collect::<Result<_>>()?;
            let first = places.first().map(|place| keys::parse_claimed_at(place)).transpose()?;
            claims.raise(&ticket, first.map_or(until.plus(1), |(at, _)| at));
            Ok(places)
        })?;
        if places.is_empty() {
            return Ok(0);
        }
        let bytes = places.iter().map(Vec::len).sum();
        self.write(bytes, move |txn| {
            let mut removed = 0;
            for place in &places {
                removed += usize::from(remove_expired(txn, place)?);
            }
            Ok(removed)
        })
        .await
    }
}
