//! Writing: one atomic, durable write, then what the writer must see at once, then the work for others.
//!
//! Once the write is durable nothing fails it any more: a projection that does not answer is left alone, a queue that
//! is full leaves the work to the sweeper.

use std::sync::Arc;

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{
    Delivery, FollowOutcome, OutboxRow, Post, PostChange, PostPatch, Relation, RequestKey, StoredResponse,
};
use futures_util::future::{join, join_all};

use crate::feed_cache::FeedEntry;
use crate::live::LiveEvent;
use crate::settings::Mutant;
use crate::shared::Shared;
use crate::sync::within;
use crate::{FanoutError, Result, events};

/// Relation changes told to the writer's devices at once; of more than that the workers tell.
const TOLD_AT_ONCE: usize = 16;

/// Writes posts and relations.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How a post that this author publishes now is delivered: goes into [`Post::delivery`].
    pub async fn delivery_for(&self, app: &AppId, author: &UserId) -> Result<Delivery> {
        self.shared.modes.delivery(app, author).await
    }

    /// Publishes a post, together with the answer to repeat. `Ok`: durable, and in the author's own feed. The same post
    /// again changes nothing. [`FanoutError::TooLate`] if the id was minted longer than
    /// [`crate::Settings::publish_limit_ms`] ago.
    pub async fn publish(
        &self,
        app: &AppId,
        post: &Post,
        completes: Option<(&RequestKey, &StoredResponse)>,
    ) -> Result<()> {
        let shared = &self.shared;
        let now = shared.clock.now();
        if now.since(post.id.minted_at()) > shared.settings.publish_limit_ms {
            return Err(FanoutError::TooLate);
        }
        let writing = shared.freshness.writing(|| shared.bodies.forget(post.id));
        let inserted = shared.stores.posts.insert(app, post, completes, now).await;
        writing.ended(&inserted);
        let row = inserted?;
        let event = events::created(&row, post);
        let entry = FeedEntry { id: post.id, author: post.author.clone() };
        let own = async {
            let users = std::slice::from_ref(&post.author);
            let add = shared.feeds.add_to_many(app, users, std::slice::from_ref(&entry));
            self.projected("own feed", add).await;
            self.tell(app, &post.author, &event).await;
        };
        join(shared.enqueue(row), own).await;
        Ok(())
    }

    /// Edits a post of this author.
    pub async fn edit(
        &self,
        app: &AppId,
        author: &UserId,
        id: PostId,
        patch: &PostPatch,
    ) -> Result<PostChange> {
        let shared = &self.shared;
        let writing = shared.freshness.writing(|| shared.bodies.forget(id));
        let edited = shared.stores.posts.edit(app, author, id, patch, shared.clock.now()).await;
        writing.ended(&edited);
        let change = edited?;
        if let PostChange::Changed(post, row) = &change {
            let event = events::updated(row, post);
            join(shared.enqueue(row.clone()), self.tell(app, author, &event)).await;
        }
        Ok(change)
    }

    /// Deletes a post of this author; of any author if `None`.
    pub async fn delete(&self, app: &AppId, author: Option<&UserId>, id: PostId) -> Result<PostChange> {
        let shared = &self.shared;
        let writing = shared.freshness.writing(|| shared.bodies.forget(id));
        let deleted = shared.stores.posts.delete(app, author, id, shared.clock.now()).await;
        writing.ended(&deleted);
        let change = deleted?;
        if let PostChange::Changed(post, row) = &change {
            let event = events::deleted(row, post);
            join(shared.enqueue(row.clone()), self.tell(app, &post.author, &event)).await;
        }
        Ok(change)
    }

    /// Reacts to a post, or takes it back; whether that changed anything. Whether the user may see the post is the
    /// caller's business.
    pub async fn react(
        &self,
        app: &AppId,
        post: PostId,
        user: &UserId,
        kind: &str,
        active: bool,
    ) -> Result<bool> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let Some(row) = shared.stores.reactions.react(app, post, user, kind, active, now).await? else {
            return Ok(false);
        };
        shared.enqueue(row).await;
        Ok(true)
    }

    /// Follows at most 1,000 authors, all or none.
    pub async fn follow(&self, app: &AppId, follower: &UserId, authors: &[UserId]) -> Result<FollowOutcome> {
        let shared = &self.shared;
        if shared.settings.planted(Mutant::BackfillBeforeEdge) {
            return self.follow_after_backfill(app, follower, authors).await;
        }
        let (cap, now) = (shared.settings.follow_cap, shared.clock.now());
        let writing = shared.freshness.writing(|| shared.contexts.forget(app, follower));
        let followed = shared.stores.graph.follow(app, follower, authors, cap, now).await;
        writing.ended(&followed);
        let outcome = followed?;
        if let FollowOutcome::Followed(rows) = &outcome {
            self.related(app, std::slice::from_ref(follower), rows).await;
        }
        Ok(outcome)
    }

    /// Stops following. With `keep_history` the posts so far stay in the feed. `false`: there was nothing to stop.
    pub async fn unfollow(
        &self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        keep_history: bool,
    ) -> Result<bool> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let writing = shared.freshness.writing(|| shared.contexts.forget(app, follower));
        let unfollowed = shared.stores.graph.unfollow(app, follower, author, keep_history, now).await;
        writing.ended(&unfollowed);
        let Some(row) = unfollowed? else { return Ok(false) };
        self.related(app, std::slice::from_ref(follower), &[row]).await;
        Ok(true)
    }

    /// Blocks, mutes, or undoes it. `None`: beyond [`crate::Settings::relation_cap`]; nothing was changed.
    pub async fn relate(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        target: &UserId,
        active: bool,
    ) -> Result<Option<()>> {
        let shared = &self.shared;
        let (cap, now) = (shared.settings.relation_cap, shared.clock.now());
        let writing = shared.freshness.writing(|| {
            shared.contexts.forget(app, user);
            shared.contexts.forget(app, target);
        });
        let related = shared.stores.graph.relate(app, user, relation, target, active, cap, now).await;
        writing.ended(&related);
        let Some(rows) = related? else { return Ok(None) };
        let users = [user.clone(), target.clone()];
        let changed = if relation == Relation::Block { &users[..] } else { &users[..1] };
        self.related(app, changed, &rows).await;
        Ok(Some(()))
    }

    /// After a change of relations: the nodes of those concerned load them again, devices are told, the rest is queued.
    async fn related(&self, app: &AppId, users: &[UserId], rows: &[OutboxRow]) {
        if rows.is_empty() {
            return;
        }
        let shared = &self.shared;
        let tell = async {
            self.projected("viewers", shared.delivery.viewers_changed(app, users)).await;
            for row in rows.iter().take(TOLD_AT_ONCE) {
                if let Some((user, event)) = events::relation(row) {
                    self.tell(app, user, &event).await;
                }
            }
        };
        join(join_all(rows.iter().map(|row| shared.enqueue(row.clone()))), tell).await;
    }

    async fn tell(&self, app: &AppId, user: &UserId, event: &LiveEvent) {
        let told = self.shared.delivery.to_users(app, event, std::slice::from_ref(user));
        self.projected("own devices", told).await;
    }

    /// Runs what may fail: the write is acknowledged whatever comes of it, and the job does it again.
    async fn projected<T>(&self, what: &'static str, act: impl Future<Output = Result<T>>) {
        match within(&*self.shared.clock, self.shared.settings.projection_ms, act).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::debug!(what, %error, "left to the job"),
            None => tracing::debug!(what, "no answer, left to the job"),
        }
    }

    /// A planted bug: the rows come first, and whoever publishes in between is lost.
    async fn follow_after_backfill(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
    ) -> Result<FollowOutcome> {
        let shared = &self.shared;
        for author in authors {
            let rows = shared.rows.direct(app, author, PostId::MAX, shared.feeds.hot_cap()).await?;
            let entries: Vec<_> =
                rows.ids.iter().map(|(id, ())| FeedEntry { id: *id, author: author.clone() }).collect();
            shared.feeds.add_to_many(app, std::slice::from_ref(follower), &entries).await?;
        }
        let (cap, now) = (shared.settings.follow_cap, shared.clock.now());
        let outcome = shared.stores.graph.follow(app, follower, authors, cap, now).await?;
        for author in authors {
            let (_, version) = shared.stores.graph.edge_state(app, follower, author).await?;
            shared.stores.graph.set_filled(app, follower, author, version).await?;
        }
        shared.contexts.forget(app, follower);
        if let FollowOutcome::Followed(rows) = &outcome {
            for row in rows {
                shared.stores.outbox.mark_done(app, &row.task.row_id()).await?;
            }
        }
        Ok(outcome)
    }
}
