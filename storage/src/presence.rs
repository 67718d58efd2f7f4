//! What is kept of users' presence for good: what they chose, and when they were seen last. Who is connected is not here.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use crate::Result;

/// As what a user wants to be seen while connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChosenStatus {
    /// As connected.
    #[default]
    Online,
    /// As connected, but not at hand.
    Away,
    /// As not connected.
    Invisible,
}

/// What is kept of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresenceRow {
    /// What the user chose last.
    pub chosen: ChosenStatus,
    /// When others could see the user last; `None`: never, or not since it is kept.
    pub last_seen: Option<UnixMs>,
}

/// What is kept of presence. See the crate's contract.
#[async_trait]
pub trait PresenceStore: Send + Sync {
    /// Rows in the order asked, for at most 1,000 users; of whom nothing is kept has the default.
    async fn presence(&self, app: &AppId, users: &[UserId]) -> Result<Vec<PresenceRow>>;

    /// Sets what a user chose. With `seen` the user was seen at that time, unless invisible before: `last_seen` grows to it.
    async fn choose(
        &self,
        app: &AppId,
        user: &UserId,
        chosen: ChosenStatus,
        seen: Option<UnixMs>,
    ) -> Result<PresenceRow>;

    /// At most 1,000 users were seen: `last_seen` grows to the times given. Those who are invisible were not seen, and stay
    /// as they are.
    async fn seen(&self, app: &AppId, users: &[(UserId, UnixMs)]) -> Result<()>;
}

impl PresenceRow {
    /// The row of a user seen at this time.
    pub(crate) fn seen(self, at: UnixMs) -> Self {
        if self.chosen == ChosenStatus::Invisible {
            return self;
        }
        Self { last_seen: self.last_seen.max(Some(at)), ..self }
    }

    /// The row after a choice.
    pub(crate) fn choose(self, chosen: ChosenStatus, seen: Option<UnixMs>) -> Self {
        let row = seen.map_or(self, |at| self.seen(at));
        Self { chosen, ..row }
    }
}
