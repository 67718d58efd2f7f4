//! Feeds: for each active user a sorted set of post ids. A projection: it may be lost whole or come back old, and is
//! rebuilt from the store.
//!
//! - A feed exists iff its meta exists. Adding to a feed that does not exist is harmless.
//! - Entries never go before the meta does.
//! - A feed is complete down to its floor = max(stored floor, id of the `hot_cap`-th entry). Trimming therefore needs
//!   no atomicity: readers serve only what lies above.
//! - Each call is atomic for one user and for one user only.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UserId};

use crate::Result;

/// An entry: the author is there so that readers filter without the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedEntry {
    /// The post.
    pub id: PostId,
    /// Its author.
    pub author: UserId,
}

/// State of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMeta {
    /// Whether the rebuild that made it is complete.
    pub ready: bool,
    /// Stored floor.
    pub floor: PostId,
    /// Of the rebuild that made it.
    pub token: u64,
    /// Of the cache when it was built. Readers and rebuilds treat feeds of another generation as missing.
    pub generation: u64,
}

/// A feed, read at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedRead {
    /// `None`: there is no feed.
    pub meta: Option<FeedMeta>,
    /// Entries below the id asked for, newest first, at most the limit asked for and none beyond the newest `hot_cap`.
    pub entries: Vec<FeedEntry>,
    /// Whether entries that were not returned follow, among the newest `hot_cap`.
    pub more: bool,
    /// Id of the `hot_cap`-th entry, zero if there are fewer.
    pub cap_floor: PostId,
    /// The cache's generation when it was read.
    pub generation: u64,
}

/// What beginning a rebuild found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// The caller's to do: meta is now building, with the caller's token.
    Begun,
    /// Another rebuild began less than the lock's time ago.
    Busy,
    /// A ready feed of this generation is there.
    Ready,
}

/// Feeds. Limits: at most 128 users and 1,000 entries a call to [`FeedCache::add_to_many`].
#[async_trait]
pub trait FeedCache: Send + Sync {
    /// Entries a feed keeps.
    fn hot_cap(&self) -> usize;

    /// The newest generation that is known durably, read now. A generation grows whenever the cache may have lost or
    /// regained data, and is durable before the first rebuild under it: what was written to an older one may be missing
    /// from feeds that were rebuilt under a newer one.
    async fn generation(&self) -> Result<u64>;

    /// Meta, floor and the entries below `below` of one instant; with limit 0 no entries. With `touch_ms` (monotonic) the
    /// feed counts as used then; only readers touch.
    async fn read(
        &self,
        app: &AppId,
        user: &UserId,
        below: PostId,
        limit: usize,
        touch_ms: Option<u64>,
    ) -> Result<FeedRead>;

    /// Adds entries to each feed that exists, whatever its generation, and trims. Order of users is free; stops at the
    /// first error. Returns the generation of the cache that was written to: work is done only if
    /// [`FeedCache::generation`], read afterwards, is not above it.
    async fn add_to_many(&self, app: &AppId, users: &[UserId], entries: &[FeedEntry]) -> Result<u64>;

    /// Sets meta = building(token), floor zero, unless a ready feed of this generation is there, or another rebuild holds
    /// the lock. Entries that are there stay. [`crate::FanoutError::Full`] where there is no room for one more feed.
    async fn begin_rebuild(
        &self,
        app: &AppId,
        user: &UserId,
        token: u64,
        now_ms: u64,
        lock_ms: u64,
    ) -> Result<Rebuild>;

    /// Stores floor = max(present, computed), ready and the generation, only if meta still carries the token. `false`: it
    /// does not.
    async fn finish_rebuild(&self, app: &AppId, user: &UserId, token: u64, floor: PostId) -> Result<bool>;

    /// Notes the version of an edge on the feed, if there is one; the highest wins. Backfill does so before it reads.
    async fn stamp_edge(&self, app: &AppId, user: &UserId, author: &UserId, version: u64) -> Result<()>;

    /// Hygiene, in one step: floor = max(floor, `hot_cap`-th id), then removes the author's entries; only if the feed's
    /// token is still `token` and no higher version than `version` was stamped for the author.
    async fn remove_author(
        &self,
        app: &AppId,
        user: &UserId,
        author: &UserId,
        token: u64,
        version: u64,
    ) -> Result<bool>;

    /// Drops feeds not used since `before_ms`, meta first, at most `limit`; how many.
    async fn expire(&self, before_ms: u64, limit: usize) -> Result<usize>;

    /// A planted bug's: the entries of a feed become these.
    #[cfg(feature = "mutants")]
    async fn replace(&self, app: &AppId, user: &UserId, entries: &[FeedEntry]) -> Result<()>;
}
