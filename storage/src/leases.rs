//! What one node at a time may hold.

use async_trait::async_trait;
use fama_protocol::UnixMs;

use crate::Result;

/// A lease held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is held, such as `node/7` or `sweep/3`.
    pub name: String,
    /// Who holds it: unique to one start of one process.
    pub holder: String,
    /// When it ends unless renewed.
    pub until: UnixMs,
}

/// Leases. Time is the caller's: holders leave a margin for clocks that differ. See the crate's contract.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Names and holders have 1 to 255 bytes. Takes or renews a lease: if it is free, ended, or the holder's own. `None` if another holds it
    /// (its `until` is after `now`).
    async fn acquire(&self, name: &str, holder: &str, ttl_ms: u64, now: UnixMs) -> Result<Option<Lease>>;

    /// Gives it back, if it is the holder's.
    async fn release(&self, name: &str, holder: &str) -> Result<()>;

    /// A number that only grows, kept for the lease's name: at least `at_least`. Node numbers keep the last id minted
    /// there, so that a node with a clock behind never mints an id twice.
    async fn raise_mark(&self, name: &str, at_least: u64) -> Result<u64>;
}
