//! Rates: a token bucket in one number (GCRA). The arithmetic is pure; the table of buckets is bounded.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};

/// A rate: so many a minute (or second), and as many at once after a quiet one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    amount: u32,
    window_us: u64,
}

/// What a request found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on.
    pub allowed: bool,
    /// Requests in a minute, or second.
    pub limit: u32,
    /// Requests that could follow at once.
    pub remaining: u32,
    /// Seconds until the bucket is full again, rounded up.
    pub reset_s: u64,
    /// Seconds until one request is allowed, rounded up; 0 if one is now.
    pub retry_after_s: u64,
}

const MINUTE_US: u64 = 60_000_000;

impl Rate {
    /// `None` for 0: off.
    pub fn per_minute(per_minute: u32) -> Option<Self> {
        (per_minute > 0).then_some(Self { amount: per_minute, window_us: MINUTE_US })
    }

    /// `None` for 0: off. At most a million.
    pub fn per_second(per_second: u32) -> Option<Self> {
        (per_second > 0).then_some(Self { amount: per_second, window_us: 1_000_000 })
    }

    /// Microseconds that one request costs.
    fn cost_us(self) -> u64 {
        self.window_us / u64::from(self.amount)
    }

    /// Decides for one request. `full_at` is when the bucket is full again; the second value is the new one, the old one
    /// for a request that is refused: asking in vain costs nothing.
    pub fn decide(self, full_at_us: u64, now_us: u64) -> (Decision, u64) {
        let (cost, base) = (self.cost_us(), full_at_us.max(now_us));
        let after = base + cost;
        // A request is allowed if the bucket would be full again within its window after it.
        let most = now_us + cost * u64::from(self.amount);
        let allowed = after <= most;
        let full_at = if allowed { after } else { full_at_us };
        let used = full_at.max(now_us) - now_us;
        let remaining = self.amount - u32::try_from(used.div_ceil(cost)).unwrap_or(u32::MAX).min(self.amount);
        let decision = Decision {
            allowed,
            limit: self.amount,
            remaining,
            reset_s: used.div_ceil(1_000_000),
            retry_after_s: if allowed { 0 } else { (after - most).div_ceil(1_000_000).max(1) },
        };
        (decision, full_at)
    }
}

/// Buckets by key. At the bound, full buckets are forgotten first (nothing is lost by that), then those nearest to it.
pub struct Table<K> {
    shards: Vec<Mutex<HashMap<K, u64>>>,
    hasher: RandomState,
    per_shard: usize,
}

const SHARDS: usize = 32;

impl<K: Hash + Eq + Clone> Table<K> {
    /// A table of at most about `capacity` buckets.
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            hasher: RandomState::new(),
            per_shard: (capacity / SHARDS).max(1),
        }
    }

    /// Decides for one request of `key` and, if it is allowed and `charge`, counts it.
    pub fn check(&self, key: &K, rate: Rate, now_us: u64, charge: bool) -> Decision {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(shard) else { return rate.decide(0, now_us).0 };
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let (decision, full_at) = rate.decide(buckets.get(key).copied().unwrap_or(0), now_us);
        if charge && decision.allowed {
            if let Some(bucket) = buckets.get_mut(key) {
                *bucket = full_at;
            } else {
                if buckets.len() >= self.per_shard {
                    make_room(&mut buckets, self.per_shard, now_us);
                }
                buckets.insert(key.clone(), full_at);
            }
        }
        decision
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Keeps at most seven eighths, so that the work is shared by the inserts until the next time.
fn make_room<K: Hash + Eq>(buckets: &mut HashMap<K, u64>, capacity: usize, now_us: u64) {
    let keep = capacity - (capacity / 8).max(1);
    buckets.retain(|_, full_at| *full_at > now_us);
    if buckets.len() <= keep {
        return;
    }
    let mut times: Vec<u64> = buckets.values().copied().collect();
    let surplus = times.len() - keep;
    let (_, limit, _) = times.select_nth_unstable(surplus - 1);
    let limit = *limit;
    buckets.retain(|_, full_at| *full_at > limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_minutes_worth_at_once_then_one_by_one() {
        let rate = Rate::per_minute(60).unwrap();
        let table = Table::new(100);
        let at = |us| table.check(&"alice", rate, us, true);
        let first = at(SECOND);
        assert_eq!((first.allowed, first.remaining, first.reset_s), (true, 59, 1));
        for left in (0..59).rev() {
            assert_eq!(at(SECOND).remaining, left);
        }
        let refused = at(SECOND);
        assert_eq!(
            (refused.allowed, refused.remaining, refused.retry_after_s, refused.reset_s),
            (false, 0, 1, 60)
        );
        assert!(at(2 * SECOND).allowed && !at(2 * SECOND).allowed, "one a second afterwards");
        assert_eq!(at(200 * SECOND).remaining, 59, "full again after a quiet minute");
        assert!(table.check(&"bob", rate, SECOND, true).allowed, "others have their own");
        assert!(Rate::per_minute(0).is_none());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_least_used() {
        let rate = Rate::per_minute(10).unwrap();
        let table = Table::new(SHARDS * 16);
        for _ in 0..10 {
            table.check(&u32::MAX, rate, 1, true);
        }
        for key in 0..100_000 {
            table.check(&key, rate, 1, true);
        }
        assert!(table.len() <= SHARDS * 16, "{}", table.len());
        assert!(
            !table.check(&u32::MAX, rate, 1, true).allowed,
            "the one that is at its limit is not forgotten"
        );
    }

    proptest! {
        /// In no window of a minute are there more than twice the rate, and over a long time no more than the rate.
        #[test]
        fn never_more_than_the_rate(per_minute in 1u32..500, gaps in proptest::collection::vec(0u64..3_000_000, 1..400)) {
            let rate = Rate::per_minute(per_minute).unwrap();
            let (mut now, mut full_at, mut allowed) = (5 * MINUTE_US, 0, Vec::new());
            for gap in gaps {
                now += gap;
                let (decision, next) = rate.decide(full_at, now);
                full_at = next;
                if decision.allowed { allowed.push(now); }
                prop_assert_eq!(decision.allowed, decision.retry_after_s == 0);
                prop_assert!(full_at <= now + MINUTE_US);
            }
            if let (Some(first), Some(last)) = (allowed.first(), allowed.last()) {
                let earned = (last - first) / (MINUTE_US / u64::from(per_minute));
                prop_assert!(allowed.len() as u64 <= u64::from(per_minute) + earned);
            }
        }
    }
}
