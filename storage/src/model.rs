//! The rows, as the rest of the program sees them. How a backend lays them out is its own business.

use fama_protocol::{PostId, UnixMs, UserId};
use serde::{Deserialize, Serialize};

/// How a post reaches feeds. Written on the post when it is published, and never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Written into each follower's feed.
    Push,
    /// Found by readers in the author's own rows.
    Pull,
}

/// Who may see a post, besides its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Anyone signed in who is not blocked.
    #[default]
    Public,
    /// The author's followers.
    Followers,
}

/// A post. `data` and `attachments` are JSON texts, kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Orders posts.
    pub id: PostId,
    /// Who posted.
    pub author: UserId,
    /// The app's own kind; `post` by default.
    pub kind: String,
    /// At most 5,000 characters.
    pub text: Option<String>,
    /// JSON, at most 16 KiB.
    pub data: Option<String>,
    /// The post answered.
    pub reply_to: Option<PostId>,
    /// The post passed on.
    pub repost_of: Option<PostId>,
    /// At most 50 users.
    pub mentions: Vec<UserId>,
    /// Who may see it.
    pub visibility: Visibility,
    /// JSON list.
    pub attachments: Option<String>,
    /// When it was published.
    pub created_at: UnixMs,
    /// When it was last edited.
    pub updated_at: UnixMs,
    /// 1 at first, one more with each edit.
    pub rev: u32,
    /// Frozen at publishing.
    pub delivery: Delivery,
    /// Deleted posts stay as rows without content, so that late work on them finds out.
    pub deleted: bool,
}

/// What an edit changes. `None` leaves a field as it is; `Some(None)` empties it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostPatch {
    /// New text.
    pub text: Option<Option<String>>,
    /// New data.
    pub data: Option<Option<String>>,
}

/// A post in its author's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostRef {
    /// The post.
    pub id: PostId,
    /// How it is delivered.
    pub delivery: Delivery,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// An edge of the follow graph, seen from the follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Who is followed.
    pub author: UserId,
    /// Since when.
    pub since: UnixMs,
    /// Grows with each change of this edge, following or not: max(now, last + 1).
    pub version: u64,
    /// The version whose backfill is complete. Readers merge the author's rows while `filled < version`.
    pub filled: u64,
    /// Set when unfollowed with the history kept: posts minted before it stay in the feed.
    pub until: Option<UnixMs>,
}

/// An edge seen from the author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Who follows.
    pub user: UserId,
    /// Since when.
    pub since: UnixMs,
}

/// A relation that hides posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Neither sees the other's posts.
    Block,
    /// The one does not see the other's posts in the feed.
    Mute,
}

/// A row of the list of blocked or muted users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationRow {
    /// Who is blocked or muted.
    pub user: UserId,
    /// Since when.
    pub since: UnixMs,
}

/// Everything that hides posts from one user. The user's own lists are bounded by the cap of `relate`; each is in the
/// order of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relations {
    /// Whom the user blocks.
    pub blocks: Vec<UserId>,
    /// Who blocks the user; the first [`crate::BLOCKED_BY_MAX`].
    pub blocked_by: Vec<UserId>,
    /// Whether more do than `blocked_by` names: then ask [`crate::GraphStore::blocked_by`] about each author.
    pub blocked_by_more: bool,
    /// Whom the user mutes.
    pub mutes: Vec<UserId>,
}

/// Exact counts of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Followers.
    pub followers: u64,
    /// Followees.
    pub following: u64,
    /// Posts that are not deleted.
    pub posts: u64,
}

/// How an author's new posts are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Into feeds.
    Push,
    /// By readers.
    Pull,
    /// Into feeds again, while the author's pull posts are still merged by readers.
    Draining,
}

/// An author's mode. Authors without a row are in [`Mode::Push`] with version 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeRecord {
    /// The author.
    pub author: UserId,
    /// The mode.
    pub mode: Mode,
    /// When the author came into this mode.
    pub since: UnixMs,
    /// One more with each change.
    pub version: u64,
    /// Set by an operator; the follower count does not change it.
    pub pinned: bool,
}

/// What an app says about a user. Optional: a user exists by being used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// Name to show.
    pub name: Option<String>,
    /// Portrait.
    pub avatar_url: Option<String>,
    /// BCP 47 tag.
    pub locale: Option<String>,
    /// IANA name.
    pub time_zone: Option<String>,
    /// For email; shown to nobody else.
    pub email: Option<String>,
    /// JSON of the app's own.
    pub data: Option<String>,
}
