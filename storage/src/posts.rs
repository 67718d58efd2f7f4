//! Posts and the index of each author's posts.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use crate::{OutboxRow, Post, PostPatch, PostRef, RequestKey, Result, StoredResponse};

/// An author's posts, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthorPage {
    /// At most the limit asked for, newest first. Deleted ones are included and marked.
    pub posts: Vec<PostRef>,
    /// Whether older ones exist. Without them the page is complete down to the first post.
    pub more: bool,
}

/// What an edit or a deletion found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostChange {
    /// Changed; the post as it is now, and the work owed.
    Changed(Box<Post>, OutboxRow),
    /// There was nothing to change: the post is deleted already, or an edit that it has already.
    Unchanged,
    /// No such post, or not this author's.
    NotFound,
}

/// Posts. See the crate's contract.
#[async_trait]
pub trait PostStore: Send + Sync {
    /// Writes the post, its place in the author's index, the author's post count, its place among the replies of
    /// `reply_to`, a [`crate::Task::FanOut`] row and, if given, the completed idempotency record; all or nothing.
    /// Inserting the same id again changes nothing and returns the row of the first time, as it is now; where that
    /// work is done, the row as it would begin, which is not owed again.
    ///
    /// With `completes`, the claim must be there and hold this post's id, else [`crate::ErrorKind::Conflict`]: one
    /// that was silent for too long can't publish beside the one that took over.
    async fn insert(
        &self,
        app: &AppId,
        post: &Post,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow>;

    /// The posts in the order asked, `None` for unknown ones; deleted ones come back marked and without content.
    /// At most 1,000 ids. Each post is as of its own moment.
    async fn get_many(&self, app: &AppId, ids: &[PostId]) -> Result<Vec<Option<Post>>>;

    /// The author's posts with ids below `before` (all if `None`), newest first, at most `limit` (1 to 1,000).
    /// With `pull_only`, only those of delivery [`crate::Delivery::Pull`].
    async fn by_author(
        &self,
        app: &AppId,
        author: &UserId,
        before: Option<PostId>,
        limit: usize,
        pull_only: bool,
    ) -> Result<AuthorPage>;

    /// The author's newest id, deleted or not. New ids are minted above it.
    async fn newest(&self, app: &AppId, author: &UserId) -> Result<Option<PostId>>;

    /// Ids of the replies to a post below `before`, newest first, at most `limit` (1 to 1,000); deleted ones included.
    async fn replies(
        &self,
        app: &AppId,
        post: PostId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<PostId>>;

    /// Edits a post of this author: `rev` grows by one, a [`crate::Task::PostUpdated`] row is owed. A patch that says
    /// what the post says already is [`PostChange::Unchanged`].
    async fn edit(
        &self,
        app: &AppId,
        author: &UserId,
        id: PostId,
        patch: &PostPatch,
        now: UnixMs,
    ) -> Result<PostChange>;

    /// Deletes a post (of this author, unless `None`: an admin's act): the row stays, marked and without text, data,
    /// attachments and mentions; the author's count falls; a [`crate::Task::PostDeleted`] row is owed.
    async fn delete(
        &self,
        app: &AppId,
        author: Option<&UserId>,
        id: PostId,
        now: UnixMs,
    ) -> Result<PostChange>;
}
