//! What presence does by itself.

use std::collections::HashMap;
use std::sync::Arc;

use fama_presence::{Heard, Hint, UserKey};
use fama_protocol::{AppId, UnixMs, UserId};

use super::{Presence, SEEN, lock};
use crate::supervisor::Supervisor;

/// Changes are told together, this often.
const TICK_MS: u64 = 200;
/// Users seen are written this often.
const WRITE_MS: u64 = 1_000;
/// The node's lease, and how often it is renewed.
const LEASE_MS: u64 = 15_000;
const RENEW_MS: u64 = 5_000;
/// Users in one call.
const BATCH: usize = 1_000;

/// Starts what presence does by itself.
pub fn start(supervisor: &mut Supervisor, presence: &Arc<Presence>) {
    let all = || Arc::clone(presence);
    let (run, write, hear, renew, members) = (all(), all(), all(), all(), all());
    supervisor.repeat("presence", move || Arc::clone(&run).run());
    supervisor.repeat("last seen", move || Arc::clone(&write).write());
    supervisor.repeat("presence of others", move || Arc::clone(&hear).hear());
    supervisor.repeat("members of channels", move || Arc::clone(&members).tell_members());
    supervisor.repeat("presence lease", move || Arc::clone(&renew).renew());
}

impl Presence {
    /// Notices who went offline, and tells those who watch. Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.tick().await;
            self.deps.clock.sleep(TICK_MS).await;
        }
    }

    /// One round of [`Presence::run`].
    pub async fn tick(&self) {
        self.expire();
        self.report().await;
        if let Err(error) = self.tell_interest().await {
            tracing::debug!(%error, "the backend is not told who is watched, again soon");
        }
        // A node's death takes many offline: a few at a time.
        self.look_at_due().await;
    }

    fn expire(&self) {
        let (now_ms, now) = (self.now_ms(), self.deps.clock.now());
        let gone = self.online.expire(now_ms, |gone| {
            let at = UnixMs(now.0.saturating_sub(now_ms.saturating_sub(gone.since_ms)));
            self.saw((gone.app.clone(), gone.user.clone()), at);
        });
        for gone in gone {
            self.changed(&(gone.app, gone.user));
        }
    }

    fn saw(&self, user: UserKey, at: UnixMs) {
        let mut seen = lock(&self.seen);
        if seen.len() < SEEN || seen.contains_key(&user) {
            seen.insert(user, at);
        }
    }

    /// Tells other nodes who came and went here.
    async fn report(&self) {
        let users: Vec<UserKey> = lock(&self.reports).iter().take(BATCH).cloned().collect();
        if users.is_empty() {
            return;
        }
        {
            let mut reports = lock(&self.reports);
            for user in &users {
                reports.remove(user);
            }
        }
        let count = |user: UserKey| {
            let devices = self.online.devices(&user.0, &user.1);
            (user, devices)
        };
        let counts: Vec<(UserKey, u32)> = users.into_iter().map(count).collect();
        if let Err(error) = self.deps.backend.report(&self.deps.node, &counts).await {
            tracing::warn!(%error, "other nodes are not told who came and went, again soon");
            lock(&self.reports).extend(counts.into_iter().map(|(user, _)| user));
        }
    }

    /// Writes when users were seen, again and again. Runs until it is dropped.
    pub async fn write(self: Arc<Self>) {
        loop {
            self.deps.clock.sleep(WRITE_MS).await;
            self.write_seen().await;
        }
    }

    /// Writes all who wait now; those that can't be written wait on.
    pub async fn write_seen(&self) {
        let mut by_app = HashMap::<AppId, Vec<(UserId, UnixMs)>>::new();
        for ((app, user), at) in lock(&self.seen).iter() {
            by_app.entry(app.clone()).or_default().push((user.clone(), *at));
        }
        for (app, users) in by_app {
            for users in users.chunks(BATCH) {
                if let Err(error) = self.deps.store.seen(&app, users).await {
                    tracing::debug!(%error, "when users were seen is not written, again soon");
                    return;
                }
                let mut seen = lock(&self.seen);
                for (user, at) in users {
                    let key = (app.clone(), user.clone());
                    if seen.get(&key) == Some(at) {
                        seen.remove(&key);
                    }
                }
            }
        }
    }

    /// The process ends, and all connections with it: everybody who is online was seen now.
    pub async fn stop(&self) {
        let now = self.deps.clock.now();
        self.online.each_part(|users| users.into_iter().for_each(|user| self.saw(user, now)));
        self.write_seen().await;
    }

    /// Hears from the backend. Ends when it is closed.
    pub async fn hear(self: Arc<Self>) {
        while let Some(heard) = self.deps.backend.hear(&self.deps.node).await {
            match heard {
                Heard::Hint(Hint::User(user)) => lock(&self.watches).touch(&user),
                Heard::Hint(Hint::Relation(app, one, other)) => {
                    lock(&self.watches).relation(&app, &one, &other);
                }
                Heard::Hint(Hint::Member { channel, joined, info }) => {
                    if let Some(outlet) = self.outlet.get() {
                        outlet.member(channel, joined, info);
                    }
                }
                Heard::Lost => lock(&self.watches).doubt(),
            }
        }
    }

    /// Keeps the node's lease, and takes out what others left behind. Runs until it is dropped.
    pub async fn renew(self: Arc<Self>) {
        loop {
            self.renew_once().await;
            self.deps.clock.sleep(RENEW_MS).await;
        }
    }

    /// One round of [`Presence::renew`].
    pub async fn renew_once(&self) {
        let (backend, now_ms) = (&self.deps.backend, self.now_ms());
        match backend.renew(&self.deps.node, LEASE_MS, now_ms).await {
            Ok(true) => {}
            Ok(false) => self.say_again(),
            Err(error) => tracing::warn!(%error, "the node's lease is not renewed"),
        }
        match backend.sweep(now_ms).await {
            Ok(gone) => {
                let at = UnixMs(self.deps.clock.now().0.saturating_sub(LEASE_MS));
                for user in gone {
                    self.saw(user, at);
                }
            }
            Err(error) => tracing::warn!(%error, "what dead nodes left is not taken out, again soon"),
        }
    }

    /// The backend knows nothing of this node: it is told everything again.
    fn say_again(&self) {
        let mut watches = lock(&self.watches);
        watches.doubt();
        lock(&self.interest).extend(watches.users().cloned());
        drop(watches);
        if self.settings.shared {
            self.online.each_part(|users| lock(&self.reports).extend(users));
        }
        if let Some(outlet) = self.outlet.get() {
            outlet.say_members();
        }
    }
}
