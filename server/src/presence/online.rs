//! The connections of this node's users, behind locks that shards hold for a moment.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use fama_presence::{Connected, End, Sessions, Transition};
use fama_protocol::{AppId, UserId};

use super::lock;
use crate::gateway::ConnKey;

/// Users of one part wait for each other, others don't.
const PARTS: u64 = 16;

/// See the module.
pub struct Online {
    parts: Box<[Mutex<Sessions<ConnKey>>]>,
    hasher: RandomState,
}

impl Online {
    /// Nobody is connected. Times in milliseconds.
    pub fn new(per_user: usize, goodbye_ms: u64, grace_ms: u64) -> Self {
        let part = |_| Mutex::new(Sessions::new(per_user, goodbye_ms, grace_ms));
        Self { parts: (0..PARTS).map(part).collect(), hasher: RandomState::new() }
    }

    fn with<T>(
        &self,
        app: &AppId,
        user: &UserId,
        call: impl FnOnce(&mut Sessions<ConnKey>) -> T,
    ) -> Option<T> {
        let at = usize::try_from(self.hasher.hash_one((app, user)) % PARTS).unwrap_or(0);
        self.parts.get(at).map(|part| call(&mut lock(part)))
    }

    /// A connection is there.
    pub fn connect(&self, app: &AppId, user: &UserId, connection: ConnKey) -> Connected<ConnKey> {
        let connected = self.with(app, user, |sessions| sessions.connect(app, user, connection));
        connected.unwrap_or(Connected { evict: None, came_online: false })
    }

    /// A connection is gone.
    pub fn disconnect(&self, app: &AppId, user: &UserId, connection: ConnKey, end: End, now_ms: u64) {
        self.with(app, user, |sessions| sessions.disconnect(app, user, connection, end, now_ms));
    }

    /// A user's connections, oldest first.
    pub fn of(&self, app: &AppId, user: &UserId) -> Vec<ConnKey> {
        self.with(app, user, |sessions| sessions.of(app, user)).unwrap_or_default()
    }

    /// A user's devices; one while in grace.
    pub fn devices(&self, app: &AppId, user: &UserId) -> u32 {
        self.with(app, user, |sessions| sessions.devices(app, user)).unwrap_or(0)
    }

    /// How many users.
    pub fn users(&self) -> usize {
        self.parts.iter().map(|part| lock(part).users()).sum()
    }

    /// Those whose grace is over; they are offline now. `before` is called for each while nobody can see it yet.
    pub fn expire(&self, now_ms: u64, mut before: impl FnMut(&Transition)) -> Vec<Transition> {
        let mut all = Vec::new();
        for part in &self.parts {
            let mut sessions = lock(part);
            if sessions.next_due().is_some_and(|due| due <= now_ms) {
                let gone = sessions.expire(now_ms);
                gone.iter().for_each(&mut before);
                all.extend(gone);
            }
        }
        all
    }

    /// Everybody who is online, a part at a time.
    pub fn each_part(&self, mut call: impl FnMut(Vec<(AppId, UserId)>)) {
        for part in &self.parts {
            let users = lock(part).online().map(|(app, user)| (app.clone(), user.clone())).collect();
            call(users);
        }
    }
}
