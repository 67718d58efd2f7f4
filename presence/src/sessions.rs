//! The devices of each user on this node: the limit per user, and when a user comes online and goes offline.
//!
//! A user without connections stays online for a grace: short after a goodbye, longer when the socket just ended, because
//! then the device usually comes back.

use std::collections::{BTreeMap, BTreeSet};

use fama_protocol::{AppId, ScopedMap, UserId};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client said so.
    Goodbye,
    /// The socket ended.
    Lost,
}

/// What a new connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected<K> {
    /// The user's oldest connection, beyond the limit: to be closed. It is forgotten here already.
    pub evict: Option<K>,
    /// Whether the user was offline.
    pub came_online: bool,
}

/// A user who went offline: the grace is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The tenant.
    pub app: AppId,
    /// The user.
    pub user: UserId,
    /// When the last connection ended.
    pub since_ms: u64,
}

#[derive(Debug)]
#[expect(clippy::box_collection, reason = "a list inline would make every user larger")]
enum State<K> {
    /// Almost everybody has one connection.
    One(K),
    /// Oldest first. Boxed as what follows, because it is rare.
    Many(Box<Vec<K>>),
    /// None.
    Grace(Box<Grace>),
}

/// None since that time, and offline from this time on.
#[derive(Debug, Clone, Copy)]
struct Grace {
    since: u64,
    until: u64,
}

/// Connections by user. `K` names a connection on this node.
#[derive(Debug)]
pub struct Sessions<K> {
    per_user: usize,
    goodbye_ms: u64,
    grace_ms: u64,
    users: ScopedMap<UserId, State<K>>,
    /// Users in grace, by its end.
    ending: BTreeMap<u64, BTreeSet<(AppId, UserId)>>,
    connections: usize,
}

impl<K: Copy + PartialEq> Sessions<K> {
    /// At most `per_user` (at least 1) connections each. Times in milliseconds.
    pub fn new(per_user: usize, goodbye_ms: u64, grace_ms: u64) -> Self {
        Self {
            per_user: per_user.max(1),
            goodbye_ms,
            grace_ms,
            users: ScopedMap::new(),
            ending: BTreeMap::new(),
            connections: 0,
        }
    }

    /// A connection is authenticated.
    pub fn connect(&mut self, app: &AppId, user: &UserId, key: K) -> Connected<K> {
        self.connections += 1;
        let Some(state) = self.users.get_mut(app, user) else {
            self.users.insert(app, user.clone(), State::One(key));
            return Connected { evict: None, came_online: true };
        };
        let mut keys = match std::mem::replace(state, State::One(key)) {
            State::Grace(grace) => {
                self.end_grace(grace.until, &(app.clone(), user.clone()));
                return Connected { evict: None, came_online: false };
            }
            State::One(other) => Box::new(vec![other]),
            State::Many(keys) => keys,
        };
        keys.push(key);
        let evict = (keys.len() > self.per_user).then(|| keys.remove(0));
        self.connections -= usize::from(evict.is_some());
        if keys.len() > 1 {
            *state = State::Many(keys);
        }
        Connected { evict, came_online: false }
    }

    /// A connection ended at `now_ms`. Unknown ones (evicted before) are fine.
    pub fn disconnect(&mut self, app: &AppId, user: &UserId, key: K, end: End, now_ms: u64) {
        let Some(state) = self.users.get_mut(app, user) else { return };
        match state {
            State::One(only) if *only == key => {
                let until = now_ms + if end == End::Goodbye { self.goodbye_ms } else { self.grace_ms };
                *state = State::Grace(Box::new(Grace { since: now_ms, until }));
                self.ending.entry(until).or_default().insert((app.clone(), user.clone()));
                self.connections -= 1;
            }
            State::Many(keys) => {
                let before = keys.len();
                keys.retain(|other| *other != key);
                self.connections -= before - keys.len();
                if let [only] = keys[..] {
                    *state = State::One(only);
                }
            }
            State::One(_) | State::Grace(_) => {}
        }
    }

    /// Users whose grace is over; they are offline and forgotten.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Transition> {
        let later = self.ending.split_off(&(now_ms + 1));
        let over = std::mem::replace(&mut self.ending, later);
        over.into_values()
            .flatten()
            .map(|(app, user)| {
                let since_ms = match self.users.remove(&app, &user) {
                    Some(State::Grace(grace)) => grace.since,
                    _ => now_ms,
                };
                Transition { app, user, since_ms }
            })
            .collect()
    }

    /// A user's connections, oldest first.
    pub fn of(&self, app: &AppId, user: &UserId) -> Vec<K> {
        match self.users.get(app, user) {
            Some(State::One(key)) => vec![*key],
            Some(State::Many(keys)) => keys.to_vec(),
            Some(State::Grace(_)) | None => Vec::new(),
        }
    }

    /// Whether the user is online, the grace included.
    pub fn is_online(&self, app: &AppId, user: &UserId) -> bool {
        self.users.contains_key(app, user)
    }

    /// How many devices the user has here; in the grace it is still the last one.
    pub fn devices(&self, app: &AppId, user: &UserId) -> u32 {
        match self.users.get(app, user) {
            Some(State::One(_) | State::Grace(_)) => 1,
            Some(State::Many(keys)) => u32::try_from(keys.len()).unwrap_or(u32::MAX),
            None => 0,
        }
    }

    /// Who is online, those in grace included.
    pub fn online(&self) -> impl Iterator<Item = (&AppId, &UserId)> {
        self.users.iter().map(|(app, user, _)| (app, user))
    }

    /// When [`Sessions::expire`] has something to do.
    pub fn next_due(&self) -> Option<u64> {
        self.ending.keys().next().copied()
    }

    /// Users online, those in grace included.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Connections.
    pub fn connections(&self) -> usize {
        self.connections
    }

    fn end_grace(&mut self, until: u64, id: &(AppId, UserId)) {
        if let Some(users) = self.ending.get_mut(&until) {
            users.remove(id);
            if users.is_empty() {
                self.ending.remove(&until);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn user(n: u8) -> UserId {
        UserId::new(&format!("u{n}")).unwrap()
    }

    #[test]
    fn the_oldest_beyond_the_limit_is_evicted() {
        let (app, mut sessions) = (AppId::default(), Sessions::new(2, 4_000, 15_000));
        assert_eq!(sessions.connect(&app, &user(1), 1), Connected { evict: None, came_online: true });
        assert_eq!(sessions.connect(&app, &user(1), 2), Connected { evict: None, came_online: false });
        assert_eq!(sessions.connect(&app, &user(1), 3).evict, Some(1));
        sessions.disconnect(&app, &user(1), 1, End::Lost, 0);
        assert_eq!(sessions.of(&app, &user(1)), [2, 3]);
    }

    proptest! {
        /// Against a naive history: who is online, who goes offline and when, how many connections there are.
        #[test]
        fn online_as_a_naive_model_has_it(ops in proptest::collection::vec((0u8..3, 0u8..4, any::<bool>(), 0u64..9_000), 1..120)) {
            let app = AppId::default();
            let mut sessions = Sessions::new(3, 4_000, 15_000);
            let mut model: HashMap<u8, (Vec<usize>, u64, u64)> = HashMap::new();
            let mut now = 0;
            for (key, (who, what, goodbye, forward)) in ops.into_iter().enumerate() {
                now += forward;
                let due = model.values().filter(|(keys, _, _)| keys.is_empty()).map(|(_, until, _)| *until).min();
                prop_assert_eq!(sessions.next_due(), due);
                let mut gone: Vec<_> = sessions.expire(now).into_iter().map(|gone| (gone.user, gone.since_ms)).collect();
                let over = model.iter().filter(|(_, (keys, until, _))| keys.is_empty() && *until <= now);
                let mut wanted: Vec<_> = over.map(|(who, (_, _, since))| (user(*who), *since)).collect();
                gone.sort();
                wanted.sort();
                prop_assert_eq!(gone, wanted);
                model.retain(|_, (keys, until, _)| !keys.is_empty() || *until > now);
                if what > 0 {
                    let connected = sessions.connect(&app, &user(who), key);
                    prop_assert_eq!(connected.came_online, !model.contains_key(&who));
                    let entry = model.entry(who).or_default();
                    entry.0.push(key);
                    let evict = (entry.0.len() > 3).then(|| entry.0.remove(0));
                    prop_assert_eq!(connected.evict, evict);
                } else if let Some((keys, until, since)) = model.get_mut(&who) && !keys.is_empty() {
                    let key = keys.remove(key % keys.len());
                    *since = now;
                    *until = now + if goodbye { 4_000 } else { 15_000 };
                    sessions.disconnect(&app, &user(who), key, if goodbye { End::Goodbye } else { End::Lost }, now);
                }
                prop_assert_eq!(sessions.connections(), model.values().map(|(keys, _, _)| keys.len()).sum::<usize>());
                for who in 0..3 {
                    prop_assert_eq!(sessions.is_online(&app, &user(who)), model.contains_key(&who));
                    let devices = model.get(&who).map_or(0, |(keys, _, _)| keys.len().max(1));
                    prop_assert_eq!(sessions.devices(&app, &user(who)) as usize, devices);
                }
            }
        }
    }
}
