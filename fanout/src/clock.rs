//! Time and randomness, given from outside.

use async_trait::async_trait;
use fama_protocol::UnixMs;

/// What logic needs of the world besides stores. The server's is the real one, the simulation's is its scheduler.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall clock; used for what is stored and shown, never for how long something took.
    fn now(&self) -> UnixMs;

    /// Milliseconds of a clock that only goes forward, from an unknown start: for ages, deadlines and waits.
    fn monotonic_ms(&self) -> u64;

    /// A random number: epochs, tokens, jitter.
    fn random(&self) -> u64;

    /// Waits. May be dropped.
    async fn sleep(&self, ms: u64);
}
