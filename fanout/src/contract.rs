//! What every feed cache and job queue must do. Backends call these in their tests.

#![allow(clippy::unwrap_used, reason = "assertions of tests")]

mod feed_cache;
mod jobs;

pub use feed_cache::feed_cache;
pub use jobs::{RETRY_MS, job, jobs};
