//! The follow graph, and who blocks or mutes whom.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use crate::{Counts, Edge, Follower, OutboxRow, Relation, RelationRow, Relations, Result};

/// An unfollowed author's history is kept for at most so many authors of one follower; beyond, unfollowing keeps none.
pub const KEPT_MAX: u64 = 5_000;

/// [`GraphStore::relations`] names at most so many of those who block a user.
pub const BLOCKED_BY_MAX: usize = 10_000;

/// What following did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowOutcome {
    /// The rows owed for the edges that are new, in the order asked; none if all were there.
    Followed(Vec<OutboxRow>),
    /// Nothing was written: it would make more followees than the cap.
    OverCap {
        /// Followees there are.
        following: u64,
    },
    /// Nothing was written: this author blocks the follower, or the other way round. Comes before the cap.
    Blocked(UserId),
}

/// The graph. See the crate's contract.
#[async_trait]
pub trait GraphStore: Send + Sync {
    /// Follows each of at most 1,000 authors: both directions of the edge, both counts, and a
    /// [`crate::Task::Backfill`] row for each edge that is new (version = max(now, last + 1)); all or nothing.
    /// Edges that are there already stay as they are. Following oneself is [`crate::ErrorKind::Invalid`].
    async fn follow(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome>;

    /// Like [`GraphStore::follow`], for bulk loading into a store whose users have no feeds yet: the edges count as filled,
    /// and nothing is owed (`Followed` has no rows).
    async fn import_follows(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome>;

    /// Stops following. `None` if there was nothing to end; else the [`crate::Task::Cleanup`] row. With `keep_history`
    /// the edge stays with `until = now`: posts before it remain in the feed. It no longer counts as followed. Without,
    /// a kept edge ends as well. At most [`KEPT_MAX`] are kept.
    async fn unfollow(
        &self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        keep_history: bool,
        now: UnixMs,
    ) -> Result<Option<OutboxRow>>;

    /// All edges of a follower, kept history included, in the order of author ids. Bounded by the follow cap and
    /// [`KEPT_MAX`].
    async fn edges(&self, app: &AppId, follower: &UserId) -> Result<Vec<Edge>>;

    /// The edges from some followers to one author, in the order asked; kept history is an edge with `until`.
    /// At most 10,000.
    async fn edges_to(&self, app: &AppId, followers: &[UserId], author: &UserId)
    -> Result<Vec<Option<Edge>>>;

    /// One edge, whatever its state: `(following, version)`. Version 0 if there never was one.
    async fn edge_state(&self, app: &AppId, follower: &UserId, author: &UserId) -> Result<(bool, u64)>;

    /// Marks the backfill of `version` as complete: filled = max(filled, version). Edges that ended are left alone.
    async fn set_filled(&self, app: &AppId, follower: &UserId, author: &UserId, version: u64) -> Result<()>;

    /// Followers with ids above `after`, in the order of ids, at most `limit` (1 to 10,000).
    async fn followers(
        &self,
        app: &AppId,
        author: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>>;

    /// Followees with ids above `after`, in the order of ids, at most `limit` (1 to 10,000); without kept history.
    async fn following(
        &self,
        app: &AppId,
        follower: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>>;

    /// Exact counts.
    async fn counts(&self, app: &AppId, user: &UserId) -> Result<Counts>;

    /// Blocks, mutes, or undoes it. A block removes the follows both ways in the same write. The rows owed: a
    /// [`crate::Task::RelationChanged`] (if anything changed) and a Cleanup for each follow removed.
    /// At most `cap` of each kind: `None` beyond it, and nothing is written. Towards oneself it is
    /// [`crate::ErrorKind::Invalid`].
    async fn relate(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        target: &UserId,
        active: bool,
        cap: u64,
        now: UnixMs,
    ) -> Result<Option<Vec<OutboxRow>>>;

    /// Everything that hides posts from a user, up to [`BLOCKED_BY_MAX`] who block it.
    async fn relations(&self, app: &AppId, user: &UserId) -> Result<Relations>;

    /// Whether each of at most 1,000 others blocks the user, in the order asked: for users with
    /// [`Relations::blocked_by_more`].
    async fn blocked_by(&self, app: &AppId, user: &UserId, others: &[UserId]) -> Result<Vec<bool>>;

    /// Whom a user blocks or mutes: ids above `after`, in the order of ids, at most `limit` (1 to 10,000).
    async fn related(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<RelationRow>>;
}
