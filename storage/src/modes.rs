//! How each author's posts are delivered.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use crate::{Mode, ModeRecord, OutboxRow, Result};

/// Author modes. See the crate's contract.
#[async_trait]
pub trait ModeStore: Send + Sync {
    /// The author's mode, read at quorum; `None` is push with version 0.
    async fn mode(&self, app: &AppId, author: &UserId) -> Result<Option<ModeRecord>>;

    /// Sets mode and pin if the version is still `expected` (0 for no row): one writer wins. `None`: it was not.
    /// `since` is `now` if the mode changes, and stays if only the pin does.
    /// Going to [`Mode::Draining`] owes a [`crate::Task::Drain`] row of the new version.
    async fn set_mode(
        &self,
        app: &AppId,
        author: &UserId,
        expected: u64,
        mode: Mode,
        pinned: bool,
        now: UnixMs,
    ) -> Result<Option<(ModeRecord, Option<OutboxRow>)>>;

    /// All authors of an app that are not in [`Mode::Push`], in the order of ids. Bounded by the number of celebrities.
    async fn celebrities(&self, app: &AppId) -> Result<Vec<ModeRecord>>;

    /// All apps that have at least one row of any kind.
    async fn apps(&self) -> Result<Vec<AppId>>;
}
