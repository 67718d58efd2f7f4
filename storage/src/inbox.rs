//! The inbox: each user's notifications, in groups.
//!
//! A **group** is what users see as one notification: "A and 5 others". An **event** is one act towards a user (a follow,
//! a reaction, a mention) or one notification that the app itself sent; it is named by its actor and a text, has a
//! version that grows with each doing and undoing, and is in one group at most. The row of an event makes joining
//! idempotent: a version that is not above the last one changes nothing.
//!
//! A group has an **id**, the position it began at, and a **position**, above all that the user had before, minted with
//! each event that joins: `max(now, last + 1)`. Groups are listed in the order of positions, marks are positions, and
//! counts count groups.

use async_trait::async_trait;
use fama_protocol::{AppId, NotificationId, PostId, UnixMs, UserId};
use serde::{Deserialize, Serialize};

use crate::{OutboxRow, RequestKey, Result, StoredResponse};

/// A user's list has at most so many groups; with one more the one at the lowest position is archived.
pub const LISTED_MAX: usize = 1_000;
/// A group names at most so many of its actors, the latest first.
pub const ACTORS_SHOWN: usize = 10;
/// Counts end here.
pub const COUNT_MAX: u64 = 100;
/// Groups are kept so long after their last event, unless they end earlier; what was undone is remembered as long.
pub const NOTIFICATION_KEPT_MS: u64 = 90 * 86_400_000;
/// An event that comes [`Notice::once`] is not repeated within so long.
pub const ONCE_MS: u64 = 7 * 86_400_000;
/// Recipients of one call.
pub const RECIPIENTS_MAX: usize = 1_000;

/// Names an event among those of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// Who acted. `None`: the app itself.
    pub actor: Option<UserId>,
    /// What was done: 1 to 255 bytes, none of them 0.
    pub name: String,
}

/// An event, and the group that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which event.
    pub event: EventKey,
    /// Grows with each doing and undoing.
    pub version: u64,
    /// The type: `follow` and so on, or the app's own.
    pub kind: String,
    /// Events of one key join one group while it is unread: 1 to 255 bytes, none of them 0.
    pub group_key: String,
    /// The post that the notification opens.
    pub subject: Option<PostId>,
    /// JSON.
    pub data: Option<String>,
    /// When the group goes; by default, [`NOTIFICATION_KEPT_MS`] from now. The latest event decides.
    pub expires_at: Option<UnixMs>,
    /// The same event within [`ONCE_MS`] changes nothing, whatever became of its group.
    pub once: bool,
}

/// What happened to a user's inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxAct {
    /// An event joins its group, or begins one.
    Add(Notice),
    /// An event was undone: its actor leaves the group, and a group without events vanishes.
    Undo {
        /// Which event.
        event: EventKey,
        /// Above that of the event.
        version: u64,
    },
}

/// A group as its recipient sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Stays the same.
    pub id: NotificationId,
    /// Orders the list; grows with each event that joins.
    pub position: NotificationId,
    /// The type.
    pub kind: String,
    /// The latest first, at most [`ACTORS_SHOWN`].
    pub actors: Vec<UserId>,
    /// All actors, each once.
    pub actor_count: u64,
    /// The post that it opens.
    pub subject: Option<PostId>,
    /// JSON.
    pub data: Option<String>,
    /// When it began.
    pub created_at: UnixMs,
    /// When the last event joined.
    pub updated_at: UnixMs,
    /// Shown to the user.
    pub seen: bool,
    /// Done with.
    pub read: bool,
}

/// Where an event is, after [`InboxStore::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The group that it joined or left.
    pub id: NotificationId,
    /// The group as it is now; `None` if it is not listed (any more).
    pub group: Option<Notification>,
}

/// A change by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Everything up to a group's position has been shown. Never goes back.
    Seen(NotificationId),
    /// Everything up to a group's position is read, and seen.
    Read(NotificationId),
    /// These are read, and seen. At most 100.
    ReadEach(Vec<NotificationId>),
    /// These are not read. At most 100.
    UnreadEach(Vec<NotificationId>),
}

/// Counts and marks of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboxCounts {
    /// Groups neither seen nor read, up to [`COUNT_MAX`].
    pub unseen: u64,
    /// Groups not read, up to [`COUNT_MAX`].
    pub unread: u64,
    /// Whether one of the counts would be higher.
    pub capped: bool,
    /// Groups up to this position are seen.
    pub seen_up_to: NotificationId,
    /// The highest position up to which all was marked as read.
    pub read_up_to: NotificationId,
}

/// What became of a group that was to be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Archived {
    /// It left the list; the work owed.
    Now(OutboxRow),
    /// It had left the list before.
    Before,
    /// No such group.
    NotFound,
}

/// To whom the app sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// These users: 1 to [`RECIPIENTS_MAX`].
    Users(Vec<UserId>),
    /// Whoever follows this author when the work comes to them.
    FollowersOf(UserId),
}

/// How soon it is sent, and what it waits behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before anything else.
    Urgent,
    /// As posts are.
    #[default]
    Normal,
    /// Whenever there is nothing else to send.
    Bulk,
}

/// A notification that the app sends to many. Its id names the events of its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Minted like a post's.
    pub id: NotificationId,
    /// To whom.
    pub audience: Audience,
    /// The type.
    pub kind: String,
    /// JSON, at most 16 KiB.
    pub data: Option<String>,
    /// Sends of one type and key join one group.
    pub group_key: Option<String>,
    /// A recipient gets one of this type and key within [`ONCE_MS`].
    pub dedupe_key: Option<String>,
    /// How soon.
    pub priority: Priority,
    /// When it goes from inboxes.
    pub expires_at: Option<UnixMs>,
}

/// What [`InboxStore::expire`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpiredNotifications {
    /// Whose lists changed, in order, each once.
    pub users: Vec<(AppId, UserId)>,
    /// Whether more is to be removed.
    pub more: bool,
}

/// Inboxes. Groups that ended (`expires_at` at or before `now`) are neither shown, nor counted, nor joined, nor marked.
/// See the crate's contract.
#[async_trait]
pub trait InboxStore: Send + Sync {
    /// Applies at most 128 acts, each by itself: an error leaves some of them applied. What it returns is in the order
    /// given: where the event is now, also when it was there before; `None` if it is in no group. The order of doing and
    /// undoing one event does not matter, the higher version wins.
    async fn apply(
        &self,
        app: &AppId,
        acts: &[(UserId, InboxAct)],
        now: UnixMs,
    ) -> Result<Vec<Option<Placed>>>;

    /// Takes the events of an actor out of the groups they are in, at most `limit` (1 to 1,000) events; the groups that
    /// were left, or are gone, each once. Fewer than `limit` groups may be returned while there is more: call until
    /// none is.
    async fn remove_actor(
        &self,
        app: &AppId,
        user: &UserId,
        actor: &UserId,
        limit: usize,
        now: UnixMs,
    ) -> Result<Vec<Placed>>;

    /// Marks groups, and owes a [`crate::Task::InboxChanged`] row; `None` if nothing changed. An id that is no group of
    /// the user is taken for a position, and none lies above the user's last. Of two changes of one group the one with
    /// the later time wins, of one time the later call.
    async fn mark(&self, app: &AppId, user: &UserId, mark: &Mark, now: UnixMs) -> Result<Option<OutboxRow>>;

    /// Takes a group from the list, for good: events that come later begin a new one.
    async fn archive(&self, app: &AppId, user: &UserId, id: NotificationId, now: UnixMs) -> Result<Archived>;

    /// Listed groups at positions below `before` (all if `None`), the highest first, at most `limit` (1 to 1,000). With
    /// `unread` only those.
    async fn list(
        &self,
        app: &AppId,
        user: &UserId,
        before: Option<NotificationId>,
        limit: usize,
        unread: bool,
        now: UnixMs,
    ) -> Result<Vec<Notification>>;

    /// Listed groups by id, in the order asked, at most 1,000.
    async fn groups(
        &self,
        app: &AppId,
        user: &UserId,
        ids: &[NotificationId],
        now: UnixMs,
    ) -> Result<Vec<Option<Notification>>>;

    /// Counts and marks.
    async fn inbox_counts(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<InboxCounts>;

    /// Keeps what the app sends, with a [`crate::Task::Notify`] row and, if given, the completed idempotency record; all
    /// or nothing. The same id again changes nothing. `completes` as in [`crate::PostStore::insert`].
    async fn dispatch(
        &self,
        app: &AppId,
        dispatch: &Dispatch,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow>;

    /// What the app sent, until it is [`InboxStore::dispatched`].
    async fn dispatch_of(&self, app: &AppId, id: NotificationId) -> Result<Option<Dispatch>>;

    /// All recipients have it: it goes.
    async fn dispatched(&self, app: &AppId, id: NotificationId) -> Result<()>;

    /// Removes what ended by `now`, of all apps, at most about `limit` (1 to 10,000) rows.
    async fn expire(&self, now: UnixMs, limit: usize) -> Result<ExpiredNotifications>;
}
