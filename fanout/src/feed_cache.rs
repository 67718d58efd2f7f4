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
    /// Newest first, at most `hot_cap`.
    pub entries: Vec<FeedEntry>,
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

/// Feeds. Limits: at most 2,000 users a call to [`FeedCache::add_to_many`], 1,000 entries a call.
#[async_trait]
pub trait FeedCache: Send + Sync {
    /// Entries a feed keeps.
    fn hot_cap(&self) -> usize;

    /// The cache's generation: grows whenever the cache may have lost or regained data. Known durably before the first
    /// rebuild under it.
    async fn generation(&self) -> Result<u64>;

    /// Meta, floor and entries of one instant. Touches the feed: it was used at `now_ms` (monotonic).
    async fn read(&self, app: &AppId, user: &UserId, now_ms: u64) -> Result<FeedRead>;

    /// Adds entries to each feed that exists, and trims. Order of users is free; stops at the first error.
    async fn add_to_many(&self, app: &AppId, users: &[UserId], entries: &[FeedEntry]) -> Result<()>;

    /// Sets meta = building(token) unless a ready feed of this generation is there, or another rebuild holds the lock.
    async fn begin_rebuild(
        &self,
        app: &AppId,
        user: &UserId,
        token: u64,
        now_ms: u64,
        lock_ms: u64,
    ) -> Result<Rebuild>;

    /// Stores floor = max(present, computed) and ready, only if meta still carries the token. `false`: it does not.
    async fn finish_rebuild(&self, app: &AppId, user: &UserId, token: u64, floor: PostId) -> Result<bool>;

    /// Notes the version of an edge on the feed, the highest wins: backfill does so before it reads.
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

    /// Drops feeds not read since `before_ms`, meta first, at most `limit`; how many.
    async fn expire(&self, before_ms: u64, limit: usize) -> Result<usize>;
}
