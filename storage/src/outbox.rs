//! The outbox: work that an acknowledged write still owes, written with it in one.

use async_trait::async_trait;
use fama_protocol::{AppId, NotificationId, PostId, UnixMs, UserId};
use serde::{Deserialize, Serialize};

use crate::{Priority, Relation, Result};

/// What is owed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// A new post must reach the feeds and the sockets of its followers.
    FanOut {
        /// The post.
        post: PostId,
        /// Its author.
        author: UserId,
    },
    /// An edit must reach sockets.
    PostUpdated {
        /// The post.
        post: PostId,
        /// Its author.
        author: UserId,
        /// The revision.
        rev: u32,
    },
    /// A deletion must reach sockets, and whoever was notified of the post.
    PostDeleted {
        /// The post.
        post: PostId,
        /// Its author.
        author: UserId,
        /// Whom it mentioned.
        mentions: Vec<UserId>,
    },
    /// The post's author must be notified of a reaction, or no longer be.
    Reacted {
        /// The post.
        post: PostId,
        /// Who reacted.
        user: UserId,
        /// The kind.
        kind: String,
        /// Done or undone.
        active: bool,
        /// Grows with each of this user's changes to this post: max(now, last + 1).
        version: u64,
    },
    /// A new followee's posts must get into the follower's feed.
    Backfill {
        /// Who follows.
        follower: UserId,
        /// Whom.
        author: UserId,
        /// Version of the edge.
        version: u64,
    },
    /// The posts of somebody no longer followed may leave the feed: hygiene. Devices learn of it.
    Cleanup {
        /// Who followed.
        follower: UserId,
        /// Whom.
        author: UserId,
        /// Version of the edge.
        version: u64,
    },
    /// Devices must learn of a block or mute.
    RelationChanged {
        /// Whose.
        user: UserId,
        /// Which.
        relation: Relation,
        /// Towards whom.
        target: UserId,
        /// Set or undone.
        active: bool,
        /// Grows with each change of this relation: max(now, last + 1).
        version: u64,
    },
    /// A celebrity on the way down: its newest pull posts go into feeds, then it is push again.
    Drain {
        /// The author.
        author: UserId,
        /// Version of the mode.
        version: u64,
    },
    /// What the app sends must get into inboxes.
    Notify {
        /// The [`crate::Dispatch`].
        dispatch: NotificationId,
        /// How soon.
        priority: Priority,
    },
    /// A user's devices must learn of what another one marked or archived.
    InboxChanged {
        /// Whose.
        user: UserId,
        /// The groups that were changed one by one.
        groups: Vec<NotificationId>,
        /// Grows with each such change: max(now, last + 1).
        version: u64,
    },
    /// Nothing of a user may be left.
    Erase {
        /// Who.
        user: UserId,
        /// When it was asked for, in Unix milliseconds.
        version: u64,
    },
}

/// A row's id: made from the task, so that the same work has the same id wherever it is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowId(pub String);

impl Task {
    /// The row's id within its app.
    pub fn row_id(&self) -> RowId {
        RowId(match self {
            Self::FanOut { post, .. } => format!("p/{post}"),
            Self::PostUpdated { post, rev, .. } => format!("u/{post}/{rev}"),
            Self::PostDeleted { post, .. } => format!("d/{post}"),
            Self::Backfill { follower, author, version } => format!("b/{follower}/{author}/{version}"),
            Self::Cleanup { follower, author, version } => format!("c/{follower}/{author}/{version}"),
            Self::RelationChanged { user, target, relation, version, .. } => {
                format!("r/{user}/{target}/{relation:?}/{version}")
            }
            Self::Drain { author, version } => format!("m/{author}/{version}"),
            Self::Reacted { post, user, version, .. } => format!("e/{post}/{user}/{version}"),
            Self::Notify { dispatch, .. } => format!("n/{dispatch}"),
            Self::InboxChanged { user, version, .. } => format!("i/{user}/{version}"),
            Self::Erase { user, version } => format!("x/{user}/{version}"),
        })
    }

    /// Whether doing it writes something about the user. Of [`Task::Notify`] only the dispatch knows.
    pub fn names(&self, who: &UserId) -> bool {
        match self {
            Self::FanOut { author, .. } | Self::PostUpdated { author, .. } | Self::Drain { author, .. } => {
                author == who
            }
            Self::PostDeleted { author, mentions, .. } => author == who || mentions.contains(who),
            Self::Backfill { follower, author, .. } | Self::Cleanup { follower, author, .. } => {
                follower == who || author == who
            }
            Self::RelationChanged { user, target, .. } => user == who || target == who,
            Self::Reacted { user, .. } | Self::InboxChanged { user, .. } | Self::Erase { user, .. } => {
                user == who
            }
            Self::Notify { .. } => false,
        }
    }
}

/// Where a row is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    /// Owed; was handed to the queue last at this time, so many times.
    Queued {
        /// When.
        at: UnixMs,
        /// How often.
        attempts: u32,
    },
    /// Given up, with the reason, until an operator replays it.
    Quarantined {
        /// Why.
        reason: String,
    },
}

/// A row. Rows that are done are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The tenant.
    pub app: AppId,
    /// What is owed.
    pub task: Task,
    /// Its state.
    pub state: OutboxState,
}

/// The outbox. Rows are written by the other stores, in the same write as what they follow from. See the crate's contract.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Rows queued at or before `before`, oldest first, at most `limit` (1 to 10,000), of all apps, from one of [`SLOTS`]
    /// slots; reads no rows that are done.
    async fn due(&self, slot: u16, before: UnixMs, limit: usize) -> Result<Vec<OutboxRow>>;

    /// The work is complete: the row goes, also one that was set aside. Unknown rows are fine.
    async fn mark_done(&self, app: &AppId, id: &RowId) -> Result<()>;

    /// The row was handed to the queue once more: attempts grow by one, unless that was recorded for `now` already.
    /// Unknown (done) rows and those set aside are left alone.
    async fn mark_queued(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<()>;

    /// Sets the row aside with the reason (at most 1,000 bytes are kept). Unknown rows are left alone.
    async fn quarantine(&self, app: &AppId, id: &RowId, reason: &str) -> Result<()>;

    /// Rows set aside, in the order of ids, at most `limit` (1 to 1,000).
    async fn quarantined(&self, app: &AppId, limit: usize) -> Result<Vec<OutboxRow>>;

    /// Puts a row that was set aside back among the queued ones, with no attempts. `None` if it was not set aside.
    async fn replay(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<Option<OutboxRow>>;

    /// How many rows are queued, of all apps: exact, or a bounded estimate where counting would read them all.
    async fn backlog(&self) -> Result<u64>;
}

/// Into how many slots rows are spread, by [`slot_of`]; a sweeper owns whole slots.
pub const SLOTS: u16 = 16;

/// The slot of a row: FNV-1a of app and row id, the same in every build and backend.
pub fn slot_of(app: &AppId, id: &RowId) -> u16 {
    let bytes = app.as_str().bytes().chain([0]).chain(id.0.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The upper bits depend on every byte.
    u16::try_from((hash >> 32) % u64::from(SLOTS)).unwrap_or(0)
}
