//! Feeds and live delivery. A post's way: [`on_write`] (durable, own feed, outbox) → [`jobs`] → [`worker`]
//! (pages of followers into [`feed_cache`]) → [`live`] (log, registry, bus, node). Readers: [`on_read`].
//!
//! Logic here does no I/O of its own: stores, caches, queues and the bus are traits, time comes from a [`Clock`], ids
//! and tokens from the caller. Nothing here spawns tasks or sleeps except through what it is given, so that the
//! simulation can run it on a scheduler of its own.

pub mod clock;
pub mod error;
pub mod feed_cache;
pub mod jobs;
pub mod live;

pub use clock::Clock;
pub use error::{FanoutError, Result};
