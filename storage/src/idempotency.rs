//! Answers to repeated requests.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Which request: keys of two users, or of two routes, never meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The user on whose behalf, or the service's name.
    pub user: UserId,
    /// The route, such as `POST /v1/posts`.
    pub route: String,
    /// The key: 1 to 255 visible ASCII characters.
    pub key: String,
}

/// The answer to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// JSON body; at most 256 KiB.
    pub body: String,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The request is this caller's to do, with this id: the one it brought. Where an earlier holder was silent for
    /// [`TAKEOVER_MS`] and the post with that holder's id exists, it is that id: the work is done and only the answer
    /// is missing.
    Granted {
        /// The id to use.
        id: PostId,
        /// Whether it was taken over from an earlier holder.
        taken_over: bool,
    },
    /// Another holder is at it.
    Running,
    /// Done before: this was the answer.
    Done(StoredResponse),
    /// The key was used with another body.
    Mismatch,
}

/// A holder silent for so long has lost its claim.
pub const TAKEOVER_MS: u64 = 10_000;
/// Records are kept so long after the claim, then they count as gone.
pub const KEPT_MS: u64 = 24 * 3_600_000;

/// Idempotency records. See the crate's contract.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Claims a request: of many at once, one is granted. `hash` is of the body, `id` a freshly minted one. A claim
    /// repeated with the same id is granted again.
    async fn claim(
        &self,
        app: &AppId,
        key: &RequestKey,
        hash: [u8; 32],
        id: PostId,
        now: UnixMs,
    ) -> Result<Claim>;

    /// Stores the answer of a claimed request. An answer that is there already stays; without a record there is
    /// nothing to complete.
    async fn complete(
        &self,
        app: &AppId,
        key: &RequestKey,
        response: &StoredResponse,
        now: UnixMs,
    ) -> Result<()>;

    /// Gives a claim back: the request failed in a way that is worth repeating. Only the claim with this id, and
    /// only if it was not completed.
    async fn abandon(&self, app: &AppId, key: &RequestKey, id: PostId) -> Result<()>;

    /// Removes records older than [`KEPT_MS`] of all apps, at most `limit` (1 to 10,000); how many were removed.
    async fn expire(&self, now: UnixMs, limit: usize) -> Result<usize>;
}
