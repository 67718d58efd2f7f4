//! What the suites share: the real program as a process, clients of its two interfaces, a history of what happened
//! with the checks that judge it, and the follow graph with a naive model of feeds.

pub mod checker;
pub mod clock;
pub mod graph;
pub mod history;
pub mod key_server;
pub mod keys;
pub mod model;
pub mod rest;
pub mod server;
pub mod socket;
pub mod token;
pub mod wire;

use std::time::{Duration, Instant};

/// Asks again every 20 ms until the answer is `Some`, and panics with `what` after `limit`.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut ask: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The seed of a random test: `FAMA_SEED` if set, else a new one. Printed, so that a failure can be run again.
pub fn seed(what: &str) -> u64 {
    let seed =
        std::env::var("FAMA_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u32>);
    eprintln!("{what}: seed {seed} (run again with FAMA_SEED={seed})");
    u64::from(seed)
}
