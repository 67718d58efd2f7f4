//! Reactions to posts.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use crate::{OutboxRow, Result};

/// One user's reaction of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Who reacted.
    pub user: UserId,
    /// `like` and so on: 1 to 32 characters of a-z 0-9 _ -.
    pub kind: String,
    /// When; at least one millisecond after the user's last change to the post.
    pub created_at: UnixMs,
}

/// What a viewer sees of a post's reactions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReactionSummary {
    /// How many of each kind, in the order of kinds, none of them 0.
    pub counts: Vec<(String, u64)>,
    /// The viewer's own kinds.
    pub own: Vec<String>,
}

/// Reactions. See the crate's contract.
#[async_trait]
pub trait ReactionStore: Send + Sync {
    /// Adds or takes back a reaction; the count changes with it in one write, which also owes a
    /// [`crate::Task::Reacted`] row. `None` if nothing changed. Whether the post exists is the caller's business.
    /// A post has at most 32 kinds: one more is [`crate::ErrorKind::Invalid`].
    async fn react(
        &self,
        app: &AppId,
        post: PostId,
        user: &UserId,
        kind: &str,
        active: bool,
        now: UnixMs,
    ) -> Result<Option<OutboxRow>>;

    /// Summaries in the order asked, for at most 1,000 posts.
    async fn summaries(
        &self,
        app: &AppId,
        posts: &[PostId],
        viewer: Option<&UserId>,
    ) -> Result<Vec<ReactionSummary>>;

    /// Reactions after `(user, kind)`, in that order, at most `limit` (1 to 1,000).
    async fn reactions(
        &self,
        app: &AppId,
        post: PostId,
        after: Option<(&UserId, &str)>,
        limit: usize,
    ) -> Result<Vec<Reaction>>;
}
