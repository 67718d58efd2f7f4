//! How the time from the first SIGTERM to the end is spent. Pure.
//!
//! First (`lead`) nothing moves: whoever spreads load learns from `/health/ready` that this process is on its way out. Then
//! (`evict`) sockets are closed, evenly, so that they do not all come back elsewhere at once. What is left is closed
//! together, work in hand is finished, and at the end, whatever hangs, the process is gone.

use std::time::Duration;

/// Longest that the others are given to learn of it.
const LEAD: Duration = Duration::from_secs(5);
/// Longest that is kept for the end.
const TAIL: Duration = Duration::from_secs(10);
/// Of that, what is kept for closing the store.
const CLOSE: Duration = Duration::from_millis(1_500);
/// Before the very end, the process ends itself.
const LAST_RESORT: Duration = Duration::from_millis(200);

/// The parts of a drain, as times since its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Sockets are closed from here on.
    pub lead: Duration,
    /// Here all of them were.
    pub evicted: Duration,
    /// Here everything has to be finished, save for closing the store.
    pub finished: Duration,
    /// Here the process is gone, whatever hangs.
    pub last_resort: Duration,
}

impl Plan {
    /// For so much time in all.
    pub fn of(grace: Duration) -> Self {
        Self {
            lead: LEAD.min(grace / 6),
            evicted: grace.saturating_sub(TAIL.min(grace / 4)),
            finished: grace.saturating_sub(CLOSE.min(grace / 6)),
            last_resort: grace.saturating_sub(LAST_RESORT.min(grace / 10)),
        }
    }
}

/// Ends the process at the end of its time, whatever hangs then: a disk, a lock. Nothing acknowledged is lost by it.
pub fn arm(grace: Duration) {
    let after = Plan::of(grace).last_resort;
    let armed = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
        std::thread::sleep(after);
        tracing::error!("`server.drain_s` is over and something still hangs; the process ends now");
        std::process::exit(1);
    });
    if let Err(error) = armed {
        tracing::warn!(%error, "nothing watches over the end of the drain");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fit_into_any_time() {
        for grace_ms in [1_000, 2_000, 3_000, 20_000, 60_000, 180_000, 3_600_000] {
            let grace = Duration::from_millis(grace_ms);
            let plan = Plan::of(grace);
            let parts = [Duration::ZERO, plan.lead, plan.evicted, plan.finished, plan.last_resort, grace];
            assert!(parts.is_sorted_by(|a, b| a < b), "{parts:?}");
            assert!(plan.evicted >= plan.lead + grace / 2, "most of it is for the sockets: {plan:?}");
        }
        let long = Plan::of(Duration::from_mins(3));
        assert_eq!((long.lead.as_secs(), long.evicted.as_secs()), (5, 170));
    }
}
