//! What is kept of presence.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use super::{MemoryStore, check_count};
use crate::{ChosenStatus, PresenceRow, PresenceStore, Result};

#[async_trait]
impl PresenceStore for MemoryStore {
    async fn presence(&self, app: &AppId, users: &[UserId]) -> Result<Vec<PresenceRow>> {
        check_count(users.len(), 1_000)?;
        let row = |rows: &super::App, user: &UserId| rows.presence.get(user).copied().unwrap_or_default();
        self.app(app, |rows| Ok(users.iter().map(|user| row(rows, user)).collect()))
    }

    async fn choose(
        &self,
        app: &AppId,
        user: &UserId,
        chosen: ChosenStatus,
        seen: Option<UnixMs>,
    ) -> Result<PresenceRow> {
        self.app(app, |rows| {
            let row = rows.presence.entry(user.clone()).or_default();
            *row = row.choose(chosen, seen);
            Ok(*row)
        })
    }

    async fn seen(&self, app: &AppId, users: &[(UserId, UnixMs)]) -> Result<()> {
        check_count(users.len(), 1_000)?;
        self.app(app, |rows| {
            for (user, at) in users {
                let row = rows.presence.entry(user.clone()).or_default();
                *row = row.seen(*at);
            }
            Ok(())
        })
    }
}
