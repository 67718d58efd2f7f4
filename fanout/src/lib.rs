//! Feeds and live delivery. A post's way: [`on_write`] (durable, own feed, outbox) → [`jobs`] → [`worker`]
//! (pages of followers into [`feed_cache`]) → [`live`] (log, registry, bus, node). Readers: [`on_read`]. The same jobs
//! notify: [`notify`].
//!
//! Logic here does no I/O of its own: stores, caches, queues and the bus are traits, time comes from a [`Clock`], ids
//! and tokens from the caller. Nothing here spawns tasks or sleeps except through what it is given, so that the
//! simulation can run it on a scheduler of its own.

mod cache;
pub mod clock;
mod context;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod error;
mod events;
pub mod feed_cache;
mod feed_cache_memory;
mod freshness;
mod hydrate;
pub mod jobs;
mod jobs_memory;
pub mod live;
pub mod merge;
pub mod modes;
pub mod notify;
pub mod on_read;
pub mod on_write;
pub mod plan;
pub mod rebuild;
mod rows;
pub mod settings;
mod shared;
pub mod sweeper;
mod sync;
#[cfg(test)]
mod testing;
pub mod view;
pub mod worker;

pub use clock::Clock;
pub use error::{FanoutError, Result};
pub use feed_cache::FeedCache;
pub use feed_cache_memory::MemoryFeedCache;
pub use jobs::JobQueue;
pub use jobs_memory::MemoryJobQueue;
pub use modes::Modes;
pub use notify::{Inbox, NotificationPage};
pub use on_read::{FeedPage, Reader};
pub use on_write::Writer;
pub use rebuild::{Rebuilds, Urgency};
pub use settings::{Mutant, Settings};
pub use shared::{Deps, Feeds};
pub use sweeper::Sweeper;
pub use worker::Worker;
