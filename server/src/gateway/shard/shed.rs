//! When more waits for all sockets together than may.

use std::sync::atomic::Ordering;

use super::Shard;
use crate::gateway::inbox::Mail;

/// Between two rounds, so that other shards do their part first.
const PAUSE_MS: u64 = 20;

impl Shard {
    /// What waits for a connection changed.
    pub(super) fn requeue(&mut self, before: usize, now: usize) {
        if before == now {
            return;
        }
        self.queued = (self.queued + now).saturating_sub(before);
        if now > before {
            self.shared.queued.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.shared.queued.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Ends the connections for which most waits, so that an eighth of the limit is free again. Each shard does it for its
    /// share of what waits. A look at each connection; it makes room for at least an eighth of the limit.
    pub(super) fn shed(&mut self) {
        let limit = self.config.limits.queue_bytes_total;
        let total = self.shared.queued.load(Ordering::Relaxed);
        if total <= limit || self.queued == 0 || self.now_ms < self.shed_after_ms {
            return;
        }
        self.shed_after_ms = self.now_ms + PAUSE_MS;
        for shard in 0..self.outgoing.len() {
            if shard != usize::from(self.id) {
                self.post(shard, Mail::Shed);
            }
        }
        let keep = limit.saturating_sub(limit / 8) as u128 * self.queued as u128 / total as u128;
        let mut waiting: Vec<(usize, u32)> = (0..self.conns.end())
            .filter_map(|index| {
                Some((self.conns.get(index).filter(|conn| conn.is_open())?.out.waiting(), index))
            })
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        for (_, index) in waiting {
            if self.queued as u128 <= keep {
                break;
            }
            self.counts.shed += 1;
            self.close_slow(index);
        }
    }
}
