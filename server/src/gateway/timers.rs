//! One hashed timer wheel for each shard. Pure: time is an argument.
//!
//! Each connection has one time at which it wants to be looked at; it keeps that time itself, and an entry of the wheel
//! that does not match it any more is ignored. So nothing is ever searched for or removed, an entry is 8 bytes, and a key
//! that was taken over by another connection wakes it for nothing at worst.

/// Milliseconds of a tick.
pub const TICK_MS: u64 = 16;
const SLOTS: usize = 1024;

/// A time in ticks since the shard's start. 32 bits last for two years.
pub type Tick = u32;

/// An entry: who, and for which tick.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u32,
    due: Tick,
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    slots: Box<[Vec<Entry>]>,
    /// All ticks up to this one are done.
    done: Tick,
    /// Entries in the slots.
    len: usize,
}

/// The first tick that is not before `ms`.
pub fn tick_of(ms: u64) -> Tick {
    Tick::try_from(ms.div_ceil(TICK_MS)).unwrap_or(Tick::MAX)
}

impl Wheel {
    /// Empty, at time 0.
    pub fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), done: 0, len: 0 }
    }

    /// Looks at `key` at `due`, or with the next tick if that is over. Gives the tick to compare with when it comes.
    pub fn insert(&mut self, key: u32, due: Tick) -> Tick {
        let due = due.max(self.done + 1);
        self.slots[due as usize % SLOTS].push(Entry { key, due });
        self.len += 1;
        due
    }

    /// Gives what is due up to `now_ms`, in no order within a tick; at most about `limit`, the rest with the next call.
    pub fn advance(&mut self, now_ms: u64, limit: usize, due: &mut Vec<(u32, Tick)>) {
        let target = Tick::try_from(now_ms / TICK_MS).unwrap_or(Tick::MAX);
        while self.done < target && due.len() < limit {
            if self.len == 0 {
                self.done = target;
                return;
            }
            let now = self.done + 1;
            let slot = &mut self.slots[now as usize % SLOTS];
            let before = slot.len();
            slot.retain(|entry| {
                let is_due = entry.due <= now;
                if is_due {
                    due.push((entry.key, entry.due));
                }
                !is_due
            });
            if slot.is_empty() {
                // Many who came at once are spread by now.
                *slot = Vec::new();
            }
            self.len -= before - slot.len();
            self.done = now;
        }
    }

    /// Whether something waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When to look again, in milliseconds; `None`: nothing waits.
    pub fn next_ms(&self) -> Option<u64> {
        let ahead = (1..=1024).find(|ahead| !self.slots[(self.done + ahead) as usize % SLOTS].is_empty())?;
        Some(u64::from(self.done + ahead) * TICK_MS)
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Everything comes once, never early, and no later than the call after it is due.
        #[test]
        fn everything_comes_once_in_time(steps in proptest::collection::vec((0u64..40_000, 0u64..300_000), 1..60)) {
            let mut wheel = Wheel::new();
            let (mut now, mut waiting) = (0u64, std::collections::BTreeMap::new());
            for (key, (forward, ahead)) in (0u32..).zip(&steps) {
                waiting.insert(key, wheel.insert(key, tick_of(now + ahead)));
                now += forward;
                let mut due = Vec::new();
                wheel.advance(now, usize::MAX, &mut due);
                for (key, tick) in due {
                    prop_assert_eq!(waiting.remove(&key), Some(tick));
                    prop_assert!(u64::from(tick) * TICK_MS <= now);
                }
                prop_assert!(waiting.values().all(|tick| u64::from(*tick) * TICK_MS > now));
                prop_assert_eq!(wheel.is_empty(), waiting.is_empty());
                let first = waiting.values().min().map(|tick| u64::from(*tick) * TICK_MS);
                prop_assert!(first.is_none_or(|first| wheel.next_ms().is_some_and(|next| next <= first)));
            }
        }

        #[test]
        fn a_limit_delays_and_loses_nothing(count in 1u32..500, limit in 1usize..50) {
            let mut wheel = Wheel::new();
            for key in 0..count {
                wheel.insert(key, key % 30);
            }
            let mut due = Vec::new();
            for _ in 0..40 {
                let mut part = Vec::new();
                wheel.advance(10_000, limit, &mut part);
                due.extend(part);
            }
            prop_assert_eq!(due.len(), count as usize);
        }
    }
}
