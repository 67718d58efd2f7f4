//! Tokens that are not believed any more, although they have not ended.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use crate::Result;

/// What is not believed any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revoked {
    /// The token with this `jti`: 1 to 255 bytes, none of them 0.
    Token(String),
    /// The user's tokens that were issued up to the time of the revocation.
    User(UserId),
}

/// A revocation. Rows are ordered by their fields, the time first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revocation {
    /// When it was made.
    pub at: UnixMs,
    /// The tenant.
    pub app: AppId,
    /// What it is about.
    pub revoked: Revoked,
    /// When it may be forgotten: the tokens have ended by then.
    pub until: UnixMs,
}

/// Revocations. See the crate's contract.
#[async_trait]
pub trait RevocationStore: Send + Sync {
    /// Keeps a revocation. The same one at another time is another row; at the same time, the later end counts.
    async fn revoke(&self, revocation: &Revocation) -> Result<()>;

    /// Those made at `from` or later, of all apps, by time, behind `after` if it is given; at most `limit` (1 to 1,000).
    async fn revocations(
        &self,
        from: UnixMs,
        after: Option<&Revocation>,
        limit: usize,
    ) -> Result<Vec<Revocation>>;

    /// Forgets revocations that may be forgotten before `now`, at most `limit` (1 to 10,000); how many.
    async fn forget_revocations(&self, now: UnixMs, limit: usize) -> Result<usize>;
}
