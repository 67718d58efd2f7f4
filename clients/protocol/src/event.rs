//! The events of `user:#<id>` and `author:<id>`, and the JSON of a post. `type` comes first; unknown types are to be
//! ignored by clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{PostId, UnixMs, UserId};

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
