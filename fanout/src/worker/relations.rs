//! Jobs about one pair of users.

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Edge, OutboxRow, Relation};

use super::{Progress, Worker};
use crate::Result;
use crate::events;
use crate::feed_cache::FeedEntry;
use crate::settings::Mutant;

impl Worker {
    /// A new followee's posts get into the follower's feed, whatever their mode. The edge was there first; from then until
    /// this is done readers merge the followee's rows.
    pub(super) async fn backfill(
        &self,
        row: &OutboxRow,
        follower: &UserId,
        author: &UserId,
    ) -> Result<Progress> {
        let (shared, app) = (&self.shared, &row.app);
        let (following, version) = shared.stores.graph.edge_state(app, follower, author).await?;
        if following {
            self.fill(app, follower, author, PostId::MAX, version).await?;
            self.tell(row).await?;
        }
        shared.modes.check(app, author).await?;
        Ok(Progress::Done)
    }

    /// Puts the author's newest rows below an id into the feed, down to its floor, and marks the version as filled.
    async fn fill(
        &self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        below: PostId,
        version: u64,
    ) -> Result<()> {
        let shared = &self.shared;
        if !shared.settings.planted(Mutant::CleanupUnversioned) {
            shared.feeds.stamp_edge(app, follower, author, version).await?;
        }
        let feed = shared.feeds.read(app, follower, PostId::MAX, 0, None).await?;
        let skip = |ready: bool| !ready && shared.settings.planted(Mutant::BackfillSkipsBuilding);
        // No feed, or a feed of so few entries, is what that cache says: it counts like a write to it.
        let mut seen = feed.generation;
        if let Some(meta) = feed.meta.filter(|meta| !skip(meta.ready)) {
            // A feed that is being built has no floor yet.
            let floor = if meta.ready { meta.floor.max(feed.cap_floor) } else { PostId::ZERO };
            let newest = shared.feeds.hot_cap();
            let ids = shared.rows.newest(app, author, below, newest, floor, false).await?;
            let entries: Vec<_> =
                ids.into_iter().map(|id| FeedEntry { id, author: author.clone() }).collect();
            let written_to = self.add(app, std::slice::from_ref(follower), &entries).await?;
            seen = written_to.map_or(seen, |generation| generation.min(seen));
        }
        self.check_generation(seen).await?;
        let version = if shared.settings.planted(Mutant::PendingBlind) {
            shared.stores.graph.edge_state(app, follower, author).await?.1
        } else {
            version
        };
        let filled = shared.stores.graph.set_filled(app, follower, author, version).await;
        shared.contexts.forget(app, follower);
        Ok(filled?)
    }

    /// The posts of somebody no longer followed may leave the feed: hygiene, and only while feed and edge are those that it
    /// was decided on. With the history kept the posts stay, and whatever of them is missing comes in.
    pub(super) async fn cleanup(
        &self,
        row: &OutboxRow,
        follower: &UserId,
        author: &UserId,
        version: u64,
    ) -> Result<Progress> {
        let (shared, app) = (&self.shared, &row.app);
        let feed = shared.feeds.read(app, follower, PostId::MAX, 0, None).await?;
        let (following, at) = shared.stores.graph.edge_state(app, follower, author).await?;
        let mut progress = Progress::Done;
        if !following {
            if at == version {
                self.tell(row).await?;
            }
            match self.kept(app, follower, author).await? {
                Some(edge) => progress = self.fill_kept(app, follower, &edge).await?,
                None => {
                    if let Some(meta) = feed.meta {
                        shared.feeds.remove_author(app, follower, author, meta.token, at).await?;
                    }
                }
            }
        }
        shared.modes.check(app, author).await?;
        Ok(progress)
    }

    async fn kept(&self, app: &AppId, follower: &UserId, author: &UserId) -> Result<Option<Edge>> {
        let followers = std::slice::from_ref(follower);
        let edge = self.shared.stores.graph.edges_to(app, followers, author).await?.pop().flatten();
        Ok(edge.filter(|edge| edge.until.is_some()))
    }

    /// Kept history is filled once nothing can be added to it any more; until then readers merge the rows.
    async fn fill_kept(&self, app: &AppId, follower: &UserId, edge: &Edge) -> Result<Progress> {
        let Some(until) = edge.until else { return Ok(Progress::Done) };
        let settled = until.plus(self.shared.settings.settled_ms());
        let wait_ms = settled.since(self.shared.clock.now());
        if wait_ms > 0 {
            return Ok(Progress::Later(wait_ms));
        }
        let below = PostId::floor_of(until);
        self.fill(app, follower, &edge.author, below, edge.version).await?;
        Ok(Progress::Done)
    }

    /// The user's devices hear of a block or mute, if it is still so.
    pub(super) async fn relation_changed(
        &self,
        row: &OutboxRow,
        user: &UserId,
        relation: Relation,
        target: &UserId,
        active: bool,
    ) -> Result<Progress> {
        let (shared, app) = (&self.shared, &row.app);
        let relations = shared.stores.graph.relations(app, user).await?;
        let list = match relation {
            Relation::Block => &relations.blocks,
            Relation::Mute => &relations.mutes,
        };
        if list.contains(target) == active {
            shared.delivery.viewers_changed(app, &[user.clone(), target.clone()]).await?;
            self.tell(row).await?;
            if active {
                self.hide_actor(row, relation, user, target).await?;
            }
        }
        Ok(Progress::Done)
    }

    async fn tell(&self, row: &OutboxRow) -> Result<()> {
        match events::relation(row) {
            Some((user, event)) => {
                self.shared.delivery.to_users(&row.app, &event, std::slice::from_ref(user)).await
            }
            None => Ok(()),
        }
    }
}
