//! How often a user's devices are told of notifications: a burst, then a steady rate. What comes faster is told later,
//! each group once, as it is then.

use std::collections::{HashMap, VecDeque};

use fama_protocol::{AppId, NotificationId, UserId};

use std::sync::Mutex;

use crate::sync::lock;

/// Told at once after a quiet time.
const BURST: u64 = 20;
/// Then one in so many milliseconds.
const EVERY_MS: u64 = 500;
/// Groups of one user that wait; of more, those that changed last. Counts are told with each.
const WAITING: usize = 20;
/// Users whose rate is kept; more are not held back.
const USERS: usize = 100_000;

type Key = (AppId, UserId);

#[derive(Default)]
struct Bucket {
    /// When a whole burst is allowed again.
    full_at_ms: u64,
    waiting: VecDeque<NotificationId>,
}

impl Bucket {
    fn take(&mut self, now_ms: u64) -> bool {
        let after = self.full_at_ms.max(now_ms) + EVERY_MS;
        let allowed = after <= now_ms + BURST * EVERY_MS;
        if allowed {
            self.full_at_ms = after;
        }
        allowed
    }
}

/// Rates of users.
#[derive(Default)]
pub(crate) struct LiveRate(Mutex<HashMap<Key, Bucket>>);

impl LiveRate {
    /// Whether a change of a group may be told now. If not, it is [`LiveRate::due`] later.
    pub(crate) fn admit(&self, app: &AppId, user: &UserId, group: NotificationId, now_ms: u64) -> bool {
        let mut users = lock(&self.0);
        let key = (app.clone(), user.clone());
        if users.len() >= USERS && !users.contains_key(&key) {
            return true;
        }
        let bucket = users.entry(key).or_default();
        if bucket.waiting.is_empty() && bucket.take(now_ms) {
            return true;
        }
        bucket.waiting.retain(|id| *id != group);
        if bucket.waiting.len() >= WAITING {
            bucket.waiting.pop_front();
        }
        bucket.waiting.push_back(group);
        false
    }

    /// What may be told by now, in order. To be called a few times a second.
    pub(crate) fn due(&self, now_ms: u64) -> Vec<(Key, Vec<NotificationId>)> {
        let mut due = Vec::new();
        lock(&self.0).retain(|key, bucket| {
            let mut groups = Vec::new();
            while !bucket.waiting.is_empty() && bucket.take(now_ms) {
                groups.extend(bucket.waiting.pop_front());
            }
            if !groups.is_empty() {
                due.push((key.clone(), groups));
            }
            bucket.full_at_ms > now_ms
        });
        due.sort_unstable();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u64) -> NotificationId {
        NotificationId::from_u64(number).unwrap()
    }

    proptest! {
        /// Never more than the burst and the rate; and the last change of each of the latest groups is told after it.
        #[test]
        fn bounded_and_nothing_lost(steps in prop::collection::vec((0u64..400, 0u64..30), 1..300)) {
            let (rate, app, user) = (LiveRate::default(), AppId::default(), UserId::new("u").unwrap());
            let (mut now, mut told, mut changed) = (1_000, Vec::new(), HashMap::new());
            for (wait, group) in steps {
                now += wait;
                for (_, groups) in rate.due(now) {
                    told.extend(groups.into_iter().map(|id| (now, id)));
                }
                changed.insert(id(group), now);
                if rate.admit(&app, &user, id(group), now) {
                    told.push((now, id(group)));
                }
            }
            for _ in 0..2 * WAITING {
                now += EVERY_MS;
                for (_, groups) in rate.due(now) {
                    told.extend(groups.into_iter().map(|id| (now, id)));
                }
            }
            for (at, one) in told.iter().enumerate() {
                let window = told[at..].iter().filter(|(time, _)| *time < one.0 + 10_000).count() as u64;
                prop_assert!(window <= BURST + 10_000 / EVERY_MS);
            }
            let mut latest: Vec<_> = changed.into_iter().map(|(id, at)| (at, id)).collect();
            latest.sort_unstable();
            for (at, group) in latest.into_iter().rev().take(WAITING) {
                prop_assert!(told.iter().any(|(time, id)| *id == group && *time >= at));
            }
            now += BURST * EVERY_MS;
            rate.due(now);
            prop_assert!(lock(&rate.0).is_empty());
        }
    }
}
