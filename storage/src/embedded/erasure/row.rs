//! The row of an erasure.

use fama_protocol::{AppId, UnixMs, UserId};
use xxhash_rust::xxh3::xxh3_128;

use super::is_last;
use crate::embedded::codec::{Decoder, Encoder};
use crate::embedded::keys::{Key, table};
use crate::{Erasure, Result};

const V: u8 = 1;

/// The key has no id in it: the row outlives the user.
pub(super) fn key(app: &AppId, user: &UserId) -> Vec<u8> {
    let mut key = Key::of(app, table::ERASURE).done();
    key.extend_from_slice(&xxh3_128(user.as_str().as_bytes()).to_be_bytes());
    key
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until no queued work names the user.
    Settling,
    /// Over the store.
    Passing,
}

/// An erasure and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub started_at: UnixMs,
    pub finished_at: Option<UnixMs>,
    pub phase: Phase,
    pub pass: u64,
    /// When the pass began: what came later is left to the next one.
    pub pass_at: UnixMs,
    pub place: usize,
    /// Where the next step reads on; empty: at the beginning of the place.
    pub cursor: Vec<u8>,
    /// Rows that this pass changed.
    pub changed: u64,
    /// Rows that earlier passes changed.
    pub before: u64,
    pub looked_at: u64,
    pub total: u64,
}

impl Record {
    pub fn begin(now: UnixMs, total: u64) -> Self {
        Self {
            started_at: now,
            finished_at: None,
            phase: Phase::Passing,
            pass: 1,
            pass_at: now,
            place: 0,
            cursor: Vec::new(),
            changed: 0,
            before: 0,
            looked_at: 0,
            total,
        }
    }

    pub fn begin_pass(self, now: UnixMs) -> Self {
        Self { phase: Phase::Passing, pass_at: now, ..self }
    }

    pub fn end_pass(&mut self, now: UnixMs) {
        let last = is_last(self);
        self.before += self.changed;
        if last {
            self.finished_at = Some(now);
        } else {
            self.pass += 1;
            self.total = self.looked_at;
            (self.looked_at, self.changed, self.place) = (0, 0, 0);
            self.phase = Phase::Settling;
        }
        self.cursor.clear();
    }

    /// Whether nothing has moved since.
    pub fn is_at(&self, other: &Self) -> bool {
        self.started_at == other.started_at
            && self.finished_at == other.finished_at
            && self.phase == other.phase
            && (self.pass, self.place, &self.cursor) == (other.pass, other.place, &other.cursor)
            // A row taken in part keeps the cursor where it is.
            && self.changed == other.changed
    }

    pub fn view(&self) -> Erasure {
        Erasure {
            started_at: self.started_at,
            finished_at: self.finished_at,
            pass: self.pass,
            looked_at: self.looked_at,
            total: self.total.max(self.looked_at),
            removed: self.before + if self.finished_at.is_none() { self.changed } else { 0 },
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        Encoder::row(V)
            .uint(self.started_at.0)
            .optional_uint(self.finished_at.map(|at| at.0))
            .byte(u8::from(self.phase == Phase::Passing))
            .uint(self.pass)
            .uint(self.pass_at.0)
            .uint(self.place as u64)
            .uint(self.changed)
            .uint(self.before)
            .uint(self.looked_at)
            .uint(self.total)
            .uint(self.cursor.len() as u64)
            .raw(&self.cursor)
            .finish()
    }

    pub fn read(row: Option<&[u8]>) -> Result<Option<Self>> {
        let Some(bytes) = row else { return Ok(None) };
        let mut row = Decoder::row("erasure", bytes, V)?;
        let started_at = UnixMs(row.uint()?);
        let finished_at = row.optional_uint()?.map(UnixMs);
        let phase = if row.flag()? { Phase::Passing } else { Phase::Settling };
        let (pass, pass_at, place) = (row.uint()?, UnixMs(row.uint()?), row.uint()?);
        let (changed, before, looked_at, total) = (row.uint()?, row.uint()?, row.uint()?, row.uint()?);
        let length = usize::try_from(row.uint()?).map_err(|_| row.broken())?;
        let cursor = row.raw(length)?.to_vec();
        let place = usize::try_from(place).map_err(|_| row.broken())?;
        row.finish(Some(Self {
            started_at,
            finished_at,
            phase,
            pass,
            pass_at,
            place,
            cursor,
            changed,
            before,
            looked_at,
            total,
        }))
    }
}
