//! A store in memory: for tests and the simulation, where nothing has to outlive the process. Each call is one step,
//! and everything is in the order of ids, so that the same calls give the same answers.

mod erasure;
mod graph;
mod inbox;
mod modes;
mod outbox;
mod posts;
mod presence;
mod reactions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use fama_protocol::{AppId, PostId, UnixMs, UserId};

use crate::{
    Dispatch, Edge, ErrorKind, Lease, ModeRecord, OutboxRow, OutboxState, Post, PresenceRow, Profile,
    Relation, Result, RowId, StorageError, StoredResponse, Stores, Task,
};

/// The store in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    apps: BTreeMap<AppId, App>,
    leases: BTreeMap<String, Lease>,
    marks: BTreeMap<String, u64>,
}

/// The rows of one app.
#[derive(Default)]
struct App {
    posts: BTreeMap<PostId, Post>,
    authors: BTreeMap<UserId, BTreeSet<PostId>>,
    replies: BTreeMap<PostId, BTreeSet<PostId>>,
    /// By follower and author.
    edges: BTreeMap<(UserId, UserId), Edge>,
    /// By author and follower.
    followers: BTreeMap<(UserId, UserId), UnixMs>,
    /// Last versions of edges that ended.
    ended: BTreeMap<(UserId, UserId), u64>,
    relations: BTreeMap<(bool, UserId, UserId), Related>,
    /// By the blocked and the blocking user.
    blockers: BTreeSet<(UserId, UserId)>,
    modes: BTreeMap<UserId, ModeRecord>,
    reactions: BTreeMap<PostId, BTreeMap<(UserId, String), UnixMs>>,
    /// Each user's last change of reactions to a post, once one was undone.
    undone: BTreeMap<(PostId, UserId), u64>,
    profiles: BTreeMap<UserId, Profile>,
    presence: BTreeMap<UserId, PresenceRow>,
    inboxes: BTreeMap<UserId, inbox::Inbox>,
    dispatches: BTreeMap<PostId, Dispatch>,
    queued: BTreeMap<RowId, Queued>,
    aside: BTreeMap<RowId, (Task, String)>,
    claims: BTreeMap<(UserId, String, String), Claimed>,
    erasures: BTreeMap<UserId, erasure::Erasing>,
}

/// A block or mute, there or ended.
struct Related {
    since: Option<UnixMs>,
    version: u64,
}

#[derive(Clone)]
struct Queued {
    at: UnixMs,
    attempts: u32,
    task: Task,
}

struct Claimed {
    hash: [u8; 32],
    id: PostId,
    at: UnixMs,
    response: Option<StoredResponse>,
}

impl Queued {
    fn into_row(self, app: &AppId) -> OutboxRow {
        let state = OutboxState::Queued { at: self.at, attempts: self.attempts };
        OutboxRow { app: app.clone(), task: self.task, state }
    }
}

impl App {
    fn is_empty(&self) -> bool {
        self.posts.is_empty()
            && self.edges.is_empty()
            && self.ended.is_empty()
            && self.relations.is_empty()
            && self.modes.is_empty()
            && self.reactions.values().all(BTreeMap::is_empty)
            && self.undone.is_empty()
            && self.profiles.is_empty()
            && self.presence.is_empty()
            && self.inboxes.values().all(inbox::Inbox::is_empty)
            && self.dispatches.is_empty()
            && self.queued.is_empty()
            && self.aside.is_empty()
            && self.claims.is_empty()
            && self.erasures.is_empty()
    }

    fn owe(&mut self, app: &AppId, task: Task, now: UnixMs) -> OutboxRow {
        let queued = Queued { at: now, attempts: 0, task };
        self.queued.insert(queued.task.row_id(), queued.clone());
        queued.into_row(app)
    }
}

impl MemoryStore {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// The store as traits.
    pub fn stores(&self) -> Stores {
        let store = Arc::new(self.clone());
        Stores {
            posts: store.clone(),
            graph: store.clone(),
            modes: store.clone(),
            reactions: store.clone(),
            users: store.clone(),
            presence: store.clone(),
            outbox: store.clone(),
            idempotency: store.clone(),
            leases: store.clone(),
            inbox: store.clone(),
            erasures: store,
        }
    }

    fn all<T>(&self, call: impl FnOnce(&mut State) -> T) -> T {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn app<T>(&self, app: &AppId, call: impl FnOnce(&mut App) -> T) -> T {
        self.all(|state| call(state.apps.entry(app.clone()).or_default()))
    }
}

/// Mutes sort behind blocks.
fn is_mute(relation: Relation) -> bool {
    relation == Relation::Mute
}

fn invalid(message: impl Into<String>) -> StorageError {
    StorageError::new(ErrorKind::Invalid, message)
}

fn check_limit(limit: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&limit) {
        return Ok(());
    }
    Err(invalid(format!("the limit must be 1 to {most}, not {limit}")))
}

fn check_count(count: usize, most: usize) -> Result<()> {
    if count <= most { Ok(()) } else { Err(invalid(format!("at most {most} at once, not {count}"))) }
}

fn check_text(what: &str, text: &str) -> Result<()> {
    let fits = (1..=255).contains(&text.len()) && !text.contains('\0');
    if fits { Ok(()) } else { Err(invalid(format!("{what} has 1 to 255 bytes, none of them 0"))) }
}

/// The next version of something changed now.
fn next_version(last: u64, now: UnixMs) -> u64 {
    now.0.max(last + 1)
}
