//! Who may see whom: the configuration, follows and blocks, as the store has them now.

use std::collections::HashSet;

use fama_presence::Sight;
use fama_protocol::{AppId, UserId};

use super::{Presence, Result};
use crate::config::PresenceVisibility;

impl Presence {
    /// What a viewer may see of at most 1,000 users, in the order asked. `None`: nobody's connection, or a service.
    pub(super) async fn sights(
        &self,
        app: &AppId,
        viewer: Option<&UserId>,
        users: &[UserId],
    ) -> Result<Vec<Sight>> {
        let Some(viewer) = viewer else { return Ok(vec![Sight::Shown; users.len()]) };
        let allowed = match self.settings.visibility {
            PresenceVisibility::Everyone => vec![true; users.len()],
            PresenceVisibility::Nobody => vec![false; users.len()],
            PresenceVisibility::Followers => self.follows(app, viewer, users).await?,
            PresenceVisibility::Mutual => {
                let back = self.deps.graph.edges_to(app, users, viewer).await?;
                let back = back.into_iter().map(|edge| edge.is_some_and(|edge| edge.until.is_none()));
                let there = self.follows(app, viewer, users).await?;
                there.into_iter().zip(back).map(|(there, back)| there && back).collect()
            }
        };
        let blocked = self.deps.graph.blocked_by(app, viewer, users).await?;
        let sight = |((user, allowed), blocked)| match (allowed, blocked) {
            _ if user == viewer => Sight::Shown,
            (false, _) => Sight::Denied,
            (true, true) => Sight::Hidden,
            (true, false) => Sight::Shown,
        };
        Ok(users.iter().zip(allowed).zip(blocked).map(sight).collect())
    }

    /// Whom of these the viewer follows.
    async fn follows(&self, app: &AppId, viewer: &UserId, users: &[UserId]) -> Result<Vec<bool>> {
        if let [user] = users {
            return Ok(vec![self.deps.graph.edge_state(app, viewer, user).await?.0]);
        }
        let edges = self.deps.graph.edges(app, viewer).await?;
        let followed: HashSet<&UserId> =
            edges.iter().filter(|edge| edge.until.is_none()).map(|edge| &edge.author).collect();
        Ok(users.iter().map(|user| followed.contains(user)).collect())
    }
}
