//! Who is online, who may see it, and who is told: the decisions of `fama-presence` with their I/O.
//!
//! Connections are counted where they are ([`online`]), at no cost besides their entry. What others see of a user is that
//! and a row of the store: what the user chose, and when they were seen last. The row is read when somebody asks or
//! watches, and written once the user is offline, many together: losing power loses the last second of it.
//! Changes of watched users are looked at a few times a second and told together ([`watching`]). Who is in the app's
//! channels is kept by the backend ([`members`]).

mod members;
mod online;
mod sight;
mod tasks;
mod watching;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use fama_fanout::Clock;
use fama_presence::{
    Backend, BackendError, Chosen, End, Hint, Kept, Node, Seen, Sight, Update, UserKey, Watches,
};
use fama_protocol::{AppId, ScopedChannel, UnixMs, UserId};
use fama_storage::{ChosenStatus, GraphStore, PresenceRow, PresenceStore, StorageError};

use crate::config::PresenceVisibility;
use crate::gateway::ConnKey;
pub use members::LISTED;
use online::Online;
pub use tasks::start;
pub use watching::{WatchRefusal, members_of};

/// Users asked about at once.
pub const USERS: usize = 500;
/// A device that said goodbye is offline after so long: it may only be loading another page.
const GOODBYE_MS: u64 = 4_000;
/// Watchers of all users on this node.
const WATCHERS: usize = 4_000_000;
/// Users who were seen and wait to be written. Beyond it they are not, as after a crash.
const SEEN: usize = 1_000_000;

/// Why presence is not to be had. It may be later.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StorageError),
    /// What nodes tell each other.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Of this module.
pub type Result<T> = std::result::Result<T, PresenceError>;

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Connections of one user.
    pub per_user: usize,
    /// How long a user whose socket just ended counts as online, in milliseconds.
    pub grace_ms: u64,
    /// Who may see it.
    pub visibility: PresenceVisibility,
    /// Whether other nodes have a part in the backend. A node alone need not tell it who is here.
    pub shared: bool,
}

/// What presence stands on.
pub struct Deps {
    /// What nodes tell each other.
    pub backend: Arc<dyn Backend>,
    /// What is kept of users.
    pub store: Arc<dyn PresenceStore>,
    /// Follows and blocks.
    pub graph: Arc<dyn GraphStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This start of this node.
    pub node: Node,
}

/// Where what connections are told goes: the connection engine.
pub trait Outlet: Send + Sync {
    /// Users whom a connection watches look different now.
    fn updates(&self, connection: ConnKey, updates: Vec<(UserId, Update)>);

    /// Somebody came into a channel with members here, or left it; JSON of who.
    fn member(&self, channel: ScopedChannel, joined: bool, info: Bytes);

    /// The backend lost who is in channels here: say it again, by [`Presence::member_again`].
    fn say_members(&self);
}

/// See the module.
pub struct Presence {
    deps: Deps,
    settings: Settings,
    online: Online,
    watches: Mutex<Watches<ConnKey>>,
    /// Users whose watching the backend is to be told, or not any more.
    interest: Mutex<HashSet<UserKey>>,
    /// Held while it is told, so that what is said last is so.
    telling: futures_util::lock::Mutex<()>,
    /// Users who came or went, for other nodes.
    reports: Mutex<HashSet<UserKey>>,
    /// Users seen, to be written.
    seen: Mutex<HashMap<UserKey, UnixMs>>,
    members: members::Members,
    outlet: OnceLock<Arc<dyn Outlet>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Presence {
    /// Nobody is connected.
    pub fn new(deps: Deps, settings: Settings) -> Self {
        Self {
            online: Online::new(settings.per_user, GOODBYE_MS, settings.grace_ms),
            watches: Mutex::new(Watches::new(WATCHERS)),
            interest: Mutex::default(),
            telling: futures_util::lock::Mutex::new(()),
            reports: Mutex::default(),
            seen: Mutex::default(),
            members: members::Members::default(),
            outlet: OnceLock::new(),
            deps,
            settings,
        }
    }

    /// From now on connections are told of changes through this. Only the first call counts.
    pub fn attach(&self, outlet: Arc<dyn Outlet>) {
        let _ = self.outlet.set(outlet);
    }

    fn now_ms(&self) -> u64 {
        self.deps.clock.monotonic_ms()
    }

    /// A connection of this user is there; the user's oldest beyond the limit, which is to be closed.
    pub fn connect(&self, app: &AppId, user: &UserId, connection: ConnKey) -> Option<ConnKey> {
        let connected = self.online.connect(app, user, connection);
        if connected.came_online {
            self.changed(&(app.clone(), user.clone()));
        }
        connected.evict
    }

    /// A connection is gone.
    pub fn disconnect(&self, app: &AppId, user: &UserId, connection: ConnKey, end: End) {
        self.online.disconnect(app, user, connection, end, self.now_ms());
    }

    /// A user's connections here, oldest first.
    pub fn connections(&self, app: &AppId, user: &UserId) -> Vec<ConnKey> {
        self.online.of(app, user)
    }

    /// Users online here, those in grace included.
    pub fn online(&self) -> usize {
        self.online.users()
    }

    /// Watchers of all users here.
    pub fn watchers(&self) -> usize {
        lock(&self.watches).len()
    }

    /// A user came or went here.
    fn changed(&self, user: &UserKey) {
        lock(&self.watches).touch(user);
        if self.settings.shared {
            lock(&self.reports).insert(user.clone());
        }
    }

    /// A user wants to be seen so from now on. Durable once this returns.
    pub async fn choose(&self, app: &AppId, user: &UserId, chosen: Chosen) -> Result<()> {
        let key = (app.clone(), user.clone());
        let is_here = self.devices(std::slice::from_ref(&key)).await?.first().is_some_and(|count| *count > 0);
        let seen = if is_here { Some(self.deps.clock.now()) } else { lock(&self.seen).get(&key).copied() };
        let chosen = match chosen {
            Chosen::Online => ChosenStatus::Online,
            Chosen::Away => ChosenStatus::Away,
            Chosen::Invisible => ChosenStatus::Invisible,
        };
        self.deps.store.choose(app, user, chosen, seen).await?;
        lock(&self.watches).touch(&key);
        // Whoever does not hear it looks again when the user comes or goes; the row is what counts.
        if let Err(error) = self.deps.backend.tell(Hint::User(key)).await {
            tracing::debug!(%error, "other nodes are not told of a choice");
        }
        Ok(())
    }

    /// Follows or blocks between two users changed: what each may see of the other is found out again.
    pub async fn relation_changed(&self, app: &AppId, one: &UserId, other: &UserId) {
        lock(&self.watches).relation(app, one, other);
        let hint = Hint::Relation(app.clone(), one.clone(), other.clone());
        if let Err(error) = self.deps.backend.tell(hint).await {
            tracing::debug!(%error, "other nodes are not told of a relation");
        }
    }

    /// How a viewer sees at most [`USERS`] users, in the order asked; `None` sees everybody who is not invisible. Whoever
    /// may not be seen looks like somebody who was never there.
    pub async fn read(&self, app: &AppId, viewer: Option<&UserId>, users: &[UserId]) -> Result<Vec<Seen>> {
        let sights = self.sights(app, viewer, users).await?;
        let all = self.look(app, users).await?;
        let shown = |(sight, seen)| if sight == Sight::Shown { seen } else { Seen::default() };
        Ok(sights.into_iter().zip(all).map(shown).collect())
    }

    /// How users are, whoever asks.
    async fn look(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Seen>> {
        let keys: Vec<UserKey> = users.iter().map(|user| (app.clone(), user.clone())).collect();
        // In this order: who is offline waits to be written or is.
        let devices = self.devices(&keys).await?;
        let seen: Vec<Option<UnixMs>> = {
            let seen = lock(&self.seen);
            keys.iter().map(|key| seen.get(key).copied()).collect()
        };
        let rows = self.deps.store.presence(app, users).await?;
        let of = |((devices, seen), row)| Seen::of(devices, kept(row, seen));
        Ok(devices.into_iter().zip(seen).zip(rows).map(of).collect())
    }

    /// Devices of users on all nodes.
    async fn devices(&self, users: &[UserKey]) -> Result<Vec<u32>> {
        let here = users.iter().map(|(app, user)| self.online.devices(app, user));
        if !self.settings.shared {
            return Ok(here.collect());
        }
        let here: Vec<u32> = here.collect();
        let there = self.deps.backend.elsewhere(&self.deps.node, users, self.now_ms()).await?;
        Ok(here.into_iter().zip(there).map(|(here, there)| here.saturating_add(there)).collect())
    }
}

/// A row, with what was not written yet.
fn kept(row: PresenceRow, seen: Option<UnixMs>) -> Kept {
    let (chosen, seen) = match row.chosen {
        ChosenStatus::Online => (Chosen::Online, seen),
        ChosenStatus::Away => (Chosen::Away, seen),
        ChosenStatus::Invisible => (Chosen::Invisible, None),
    };
    Kept { chosen, last_seen: row.last_seen.max(seen) }
}
