//! How old what is kept in process may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Clock, Settings};

/// How long something loaded may be kept where this process alone writes.
const SOLE_MS: u64 = 60_000;
/// A write that was begun and whose end is not known may happen up to so long later.
const DOUBT_MS: u64 = 10_000;

/// The rule: [`Settings::freshness_ms`], or a minute where all writes come through this process. A write whose end this
/// process did not see (it was dropped, or failed) puts the short limit on everything loaded until it must be over.
pub(crate) struct Freshness {
    clock: Arc<dyn Clock>,
    short_ms: u64,
    sole_writer: bool,
    doubt_until_ms: AtomicU64,
}

impl Freshness {
    pub(crate) fn new(clock: Arc<dyn Clock>, settings: &Settings) -> Self {
        let (short_ms, sole_writer) = (settings.freshness_ms, settings.sole_writer);
        Self { clock, short_ms, sole_writer, doubt_until_ms: AtomicU64::new(0) }
    }

    /// Whether what was loaded then will do at `now_ms`.
    pub(crate) fn fresh(&self, loaded_ms: u64, now_ms: u64) -> bool {
        let age = now_ms.saturating_sub(loaded_ms);
        age <= self.short_ms
            || self.sole_writer && age <= SOLE_MS && loaded_ms >= self.doubt_until_ms.load(Ordering::Relaxed)
    }

    /// Begins a write. `forget` runs when it is over, however it ends.
    pub(crate) fn writing<F: FnMut()>(&self, forget: F) -> Writing<'_, F> {
        Writing { freshness: self, forget, done: false }
    }

    fn doubt(&self) {
        let until_ms = self.clock.monotonic_ms() + DOUBT_MS;
        self.doubt_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }
}

/// A write under way.
pub(crate) struct Writing<'a, F: FnMut()> {
    freshness: &'a Freshness,
    forget: F,
    done: bool,
}

impl<F: FnMut()> Writing<'_, F> {
    /// The write is over, with this result.
    pub(crate) fn ended<T, E>(mut self, result: &std::result::Result<T, E>) {
        self.done = result.is_ok();
    }
}

impl<F: FnMut()> Drop for Writing<'_, F> {
    fn drop(&mut self) {
        if !self.done {
            self.freshness.doubt();
        }
        (self.forget)();
    }
}
