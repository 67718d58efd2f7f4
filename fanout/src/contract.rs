//! What every feed cache and job queue must do. Backends call these in their tests.

mod feed_cache;
mod jobs;

pub use feed_cache::feed_cache;
pub use jobs::{RETRY_MS, jobs};
