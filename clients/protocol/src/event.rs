//! The events of `user:#<id>` and `author:<id>`, and the JSON of a post. `type` comes first; unknown types are to be
//! ignored by clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{NotificationId, PostId, UnixMs, UserId};

/// A post as clients see it. Events carry it without `viewer`, because many viewers share one event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PostView {
    /// Orders posts; a string in JSON.
    pub id: PostId,
    /// Who posted.
    pub author: UserId,
    /// The app's own kind.
    pub kind: String,
    /// At most 5,000 characters.
    pub text: Option<String>,
    /// The app's own JSON.
    pub data: Option<Box<RawValue>>,
    /// The post answered.
    pub reply_to: Option<PostId>,
    /// The post passed on.
    pub repost_of: Option<PostId>,
    /// Users named.
    pub mentions: Vec<UserId>,
    /// `public` or `followers`.
    pub visibility: String,
    /// A list of `{url, type, …}`.
    pub attachments: Option<Box<RawValue>>,
    /// `push` or `pull`: how it reached feeds.
    pub delivery: String,
    /// When it was published.
    pub created_at: UnixMs,
    /// When it was last edited.
    pub updated_at: UnixMs,
    /// 1 at first, one more with each edit.
    pub rev: u32,
    /// How many reactions of each kind.
    pub reactions: BTreeMap<String, u64>,
    /// What the reader did to it. Not in events.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub viewer: Option<PostViewer>,
}

/// What the reader of a post did to it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PostViewer {
    /// Kinds of the reader's own reactions.
    pub reactions: Vec<String>,
}

/// What a notification opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `post`.
    pub kind: String,
    /// Its id.
    pub id: PostId,
}

/// A notification as its recipient sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotificationView {
    /// Stays the same while events join.
    pub id: NotificationId,
    /// `follow`, `mention`, `reply`, `reaction`, `repost`, or the app's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// The latest first, at most ten.
    pub actors: Vec<UserId>,
    /// All of them.
    pub actor_count: u64,
    /// What it opens.
    pub subject: Option<Subject>,
    /// The app's own JSON; what was done, for the other types.
    pub data: Option<Box<RawValue>>,
    /// A sentence in English; `null` for the app's own types.
    pub text: Option<String>,
    /// When it began.
    pub created_at: UnixMs,
    /// When the last event joined.
    pub updated_at: UnixMs,
    /// Shown to the user.
    pub seen: bool,
    /// Done with.
    pub read: bool,
}

/// An event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A new post.
    #[serde(rename = "post.created")]
    PostCreated {
        /// The post.
        post: Box<PostView>,
    },
    /// An edit.
    #[serde(rename = "post.updated")]
    PostUpdated {
        /// The post as it is now.
        post: Box<PostView>,
    },
    /// A deletion.
    #[serde(rename = "post.deleted")]
    PostDeleted {
        /// The post.
        id: PostId,
        /// Its author.
        author: UserId,
    },
    /// The user followed, blocked or muted somebody, or stopped.
    #[serde(rename = "relation.changed")]
    RelationChanged {
        /// `follow`, `block` or `mute`.
        kind: String,
        /// Towards whom.
        user: UserId,
        /// Set or undone.
        active: bool,
    },
    /// A new notification. The counts are those of the inbox at that time.
    #[serde(rename = "notification.created")]
    NotificationCreated {
        /// The notification.
        notification: Box<NotificationView>,
        /// Neither seen nor read, at most 100.
        unseen: u64,
        /// Not read, at most 100.
        unread: u64,
    },
    /// A notification changed: an actor came or left, or it was marked by itself.
    #[serde(rename = "notification.updated")]
    NotificationUpdated {
        /// As it is now.
        notification: Box<NotificationView>,
        /// Neither seen nor read, at most 100.
        unseen: u64,
        /// Not read, at most 100.
        unread: u64,
    },
    /// A notification left the list: archived, undone or ended.
    #[serde(rename = "notification.deleted")]
    NotificationDeleted {
        /// Which.
        id: NotificationId,
        /// Neither seen nor read, at most 100.
        unseen: u64,
        /// Not read, at most 100.
        unread: u64,
    },
    /// The user marked the inbox, on any device.
    #[serde(rename = "inbox.marked")]
    InboxMarked {
        /// All up to this position is seen.
        seen_up_to: NotificationId,
        /// All up to this position was marked as read.
        read_up_to: NotificationId,
        /// Neither seen nor read, at most 100.
        unseen: u64,
        /// Not read, at most 100.
        unread: u64,
    },
    /// Continuity is lost: load the first page again.
    #[serde(rename = "feed.reset")]
    FeedReset {
        /// Why.
        reason: String,
    },
    /// An entry that the viewer may no longer see; it keeps its offset.
    #[serde(rename = "void")]
    Void,
}
