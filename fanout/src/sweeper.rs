//! Work that was left undone: handed to the queue again, from the outbox.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fama_protocol::UnixMs;
use fama_storage::{OutboxRow, OutboxState};

use crate::jobs::{Job, Lane};
use crate::shared::Shared;
use crate::{FanoutError, Result};

/// Rows read at once.
const BATCH: usize = 500;

/// Sweeps the outbox, slot by slot. One sweeper at a time owns a slot; two at once only do the same work twice.
#[derive(Clone)]
pub struct Sweeper {
    shared: Arc<Shared>,
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows handed to the queue.
    pub enqueued: usize,
    /// Whether the queue took no more: the rest waits for the next sweep.
    pub full: bool,
}

impl Sweeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Hands out the rows of a slot that are not done after max(30 s, twice the lag), each less often the more often it
    /// was handed out before. To be called every few seconds for each of [`fama_storage::outbox::SLOTS`].
    pub async fn sweep_once(&self, slot: u16) -> Result<Swept> {
        let after_ms = self.after_ms();
        let before = UnixMs(self.shared.clock.now().0.saturating_sub(after_ms));
        self.sweep(slot, before).await
    }

    /// Hands out everything that a slot owes: once at the start, when whatever was queued before is lost.
    pub async fn recover(&self, slot: u16) -> Result<Swept> {
        let before = self.shared.clock.now();
        let mut total = Swept::default();
        loop {
            let swept = self.sweep(slot, before).await?;
            total.enqueued += swept.enqueued;
            total.full = swept.full;
            if swept.full || swept.enqueued == 0 {
                return Ok(total);
            }
        }
    }

    async fn sweep(&self, slot: u16, before: UnixMs) -> Result<Swept> {
        let shared = &self.shared;
        let mut swept = Swept::default();
        for row in shared.stores.outbox.due(slot, before, BATCH).await? {
            let (app, id) = (row.app.clone(), row.task.row_id());
            let next = self.counts_from(&row, before);
            match shared.jobs.enqueue(Job { lane: Lane::of(&row.task), row, after: None }).await {
                Ok(()) => swept.enqueued += 1,
                Err(FanoutError::Full(_)) => return Ok(Swept { full: true, ..swept }),
                Err(error) => return Err(error),
            }
            shared.stores.outbox.mark_queued(&app, &id, next).await?;
        }
        Ok(swept)
    }

    fn after_ms(&self) -> u64 {
        self.shared.settings.sweep_after_ms.max(2 * self.shared.lag_ms.load(Ordering::Relaxed))
    }

    /// The time that a row's next wait counts from: later than now for rows that failed often, so that the store returns
    /// them later and they never stand in the way of others. Always after `before`, so that one sweep takes a row once.
    fn counts_from(&self, row: &OutboxRow, before: UnixMs) -> UnixMs {
        let settings = &self.shared.settings;
        let attempts = match row.state {
            OutboxState::Queued { attempts, .. } => attempts,
            OutboxState::Quarantined { .. } => 0,
        };
        let factor = 1_u64.checked_shl(attempts).unwrap_or(u64::MAX);
        let most_ms = settings.sweep_backoff_ms.max(settings.sweep_after_ms);
        let wait_ms = settings.sweep_after_ms.saturating_mul(factor).min(most_ms);
        self.shared.clock.now().plus(wait_ms - settings.sweep_after_ms).max(before.plus(1))
    }
}
