//! Erasing users: everything that is kept of one, and all that names one elsewhere.

use async_trait::async_trait;
use fama_protocol::{AppId, NotificationId, UnixMs, UserId};

use crate::{OutboxRow, Result};

/// An erasure ends after so many passes even if the last one still found something: the user goes on writing.
pub const PASSES_MAX: u64 = 50;

/// How far an erasure is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// When it was asked for.
    pub started_at: UnixMs,
    /// When it was complete: nothing names the user any more. `None` while it runs.
    pub finished_at: Option<UnixMs>,
    /// Passes over the store that have begun. The last one finds nothing.
    pub pass: u64,
    /// Rows that this pass has looked at.
    pub looked_at: u64,
    /// Rows that a pass looks at, about.
    pub total: u64,
    /// Rows removed or changed so far.
    pub removed: u64,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErasureStep {
    /// Work that the changes owe: of deleted posts, ended follows and relations, reactions taken back.
    pub owed: Vec<OutboxRow>,
    /// Groups of others that the user left.
    pub left: Vec<(UserId, NotificationId)>,
    /// What comes next.
    pub next: ErasureNext,
}

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErasureNext {
    /// Another step, at once.
    #[default]
    More,
    /// Another step, once work that names the user is done: it would bring some of it back.
    Waiting,
    /// Nothing.
    Done,
}

/// Erasures. See the crate's contract.
///
/// An erasure goes over the store again and again until a pass finds nothing of the user: what ends in the ordinary way
/// (posts deleted, follows and relations ended, reactions taken back) goes first and owes its work; what that work
/// leaves behind goes with a later pass. Each pass begins when no queued work names the user.
#[async_trait]
pub trait ErasureStore: Send + Sync {
    /// Begins to erase a user, and owes a [`crate::Task::Erase`] row; while an erasure runs, it is that one.
    async fn begin_erasure(
        &self,
        app: &AppId,
        user: &UserId,
        now: UnixMs,
    ) -> Result<(Erasure, Option<OutboxRow>)>;

    /// The user's last erasure. Once done it is kept without the user's id: by a fingerprint of it.
    async fn erasure(&self, app: &AppId, user: &UserId) -> Result<Option<Erasure>>;

    /// Does a bounded part of a running erasure. All of it or nothing: it may stop anywhere, run twice, and be run by
    /// two at once.
    async fn erase(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<ErasureStep>;
}
