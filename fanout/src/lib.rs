//! Feeds and live delivery. A post's way: [`on_write`] (durable, own feed, outbox) → [`jobs`] → [`worker`]
//! (pages of followers into [`feed_cache`]) → [`live`] (log, registry, bus, node). Readers: [`on_read`].
//!
//! Logic here does no I/O of its own: stores, caches, queues and the bus are traits, time comes from a [`Clock`], ids
//! and tokens from the caller. Nothing here spawns tasks or sleeps except through what it is given, so that the
//! simulation can run it on a scheduler of its own.

pub mod clock;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod error;
pub mod feed_cache;
mod feed_cache_memory;
pub mod jobs;
mod jobs_memory;
pub mod live;
pub mod plan;
pub mod settings;
mod sync;
#[cfg(test)]
mod testing;
pub mod view;

pub use clock::Clock;
pub use error::{FanoutError, Result};
pub use feed_cache::FeedCache;
pub use feed_cache_memory::MemoryFeedCache;
pub use jobs::JobQueue;
pub use jobs_memory::MemoryJobQueue;
pub use settings::{Mutant, Settings};
