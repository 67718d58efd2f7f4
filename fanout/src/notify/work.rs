//! The part of jobs that is about notifications.

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Audience, InboxAct, OutboxRow, Post, Relation, Task, Visibility};

use super::acts::{self, Parents};
use crate::Result;
use crate::jobs::Job;
use crate::worker::{Progress, Worker};

/// Recipients written at once.
const CHUNK: usize = 128;
/// Events of one actor taken out at once.
const REMOVED: usize = 100;

impl Worker {
    /// A new post: those whom it answers, names or passes on.
    pub(crate) async fn notify_post(&self, row: &OutboxRow, id: PostId) -> Result<()> {
        let app = &row.app;
        let Some(post) = self.post(app, id).await?.filter(|post| !post.deleted) else { return Ok(()) };
        if post.mentions.is_empty() && post.reply_to.is_none() && post.repost_of.is_none() {
            return Ok(());
        }
        if self.is_quiet(app, post.created_at.0).await? {
            return Ok(());
        }
        let parents = self.parents(app, &post).await?;
        let mut told = Vec::new();
        for (user, notice) in acts::of_post(&post, &parents) {
            let shown =
                self.may_see(app, &user, &post).await? && !self.hides(app, &user, &post.author).await?;
            let act = InboxAct::Add(notice);
            told.push((user, if shown { act } else { acts::passed_over(act) }));
        }
        self.apply(row, &post.author, told).await
    }

    /// A deleted post: whoever was notified of it no longer is.
    pub(crate) async fn unnotify_post(
        &self,
        row: &OutboxRow,
        post: &Post,
        mentions: &[UserId],
    ) -> Result<()> {
        if mentions.is_empty() && post.reply_to.is_none() && post.repost_of.is_none() {
            return Ok(());
        }
        let parents = self.parents(&row.app, post).await?;
        self.apply(row, &post.author, acts::of_deleted(post.id, &post.author, mentions, &parents)).await
    }

    /// A reaction done or undone: the author of the post.
    pub(crate) async fn notify_reaction(&self, row: &OutboxRow) -> Result<Progress> {
        let Task::Reacted { post, user, kind, active, version } = &row.task else {
            return Ok(Progress::Done);
        };
        let app = &row.app;
        let Some(post) = self.post(app, *post).await?.filter(|post| post.author != *user) else {
            return Ok(Progress::Done);
        };
        let mut act = acts::of_reaction(post.id, user, kind, *active, *version);
        if *active && self.hides(app, &post.author, user).await? {
            act = acts::passed_over(act);
        }
        self.apply(row, user, vec![(post.author, act)]).await?;
        Ok(Progress::Done)
    }

    /// A follow done or undone: whoever is followed.
    pub(crate) async fn notify_follow(
        &self,
        row: &OutboxRow,
        follower: &UserId,
        author: &UserId,
        active: bool,
        version: u64,
    ) -> Result<()> {
        let app = &row.app;
        if active && self.is_quiet(app, version).await? {
            return Ok(());
        }
        let mut act = acts::of_follow(follower, active, version);
        if active && self.hides(app, author, follower).await? {
            act = acts::passed_over(act);
        }
        self.apply(row, follower, vec![(author.clone(), act)]).await
    }

    /// A block or mute: neither is in notifications of the other any more, or the one not in those of the other.
    pub(crate) async fn hide_actor(
        &self,
        row: &OutboxRow,
        relation: Relation,
        user: &UserId,
        target: &UserId,
    ) -> Result<()> {
        self.remove_actor(row, user, target).await?;
        if relation == Relation::Block {
            self.remove_actor(row, target, user).await?;
        }
        Ok(())
    }

    async fn remove_actor(&self, row: &OutboxRow, user: &UserId, actor: &UserId) -> Result<()> {
        let (shared, app) = (&self.shared, &row.app);
        loop {
            let now = shared.clock.now();
            let left = shared.stores.inbox.remove_actor(app, user, actor, REMOVED, now).await?;
            if left.is_empty() {
                return Ok(());
            }
            let name = format!("i/{}", row.task.row_id().0);
            for placed in left {
                shared.tell_group(app, user, placed.id, None, &name).await?;
            }
        }
    }

    /// What the app sends: a page of recipients.
    pub(crate) async fn notify_dispatch(&self, job: &Job, id: PostId) -> Result<Progress> {
        let (shared, app) = (&self.shared, &job.row.app);
        let now = shared.clock.now();
        let inbox = &shared.stores.inbox;
        let Some(dispatch) = inbox.dispatch_of(app, id).await? else { return Ok(Progress::Done) };
        let (users, next) = match &dispatch.audience {
            _ if dispatch.expires_at.is_some_and(|at| at <= now) => (Vec::new(), None),
            Audience::Users(users) => (users.clone(), None),
            Audience::FollowersOf(author) => self.followers(app, author, job.after.as_ref()).await?,
        };
        let name = format!("i/{}", job.row.task.row_id().0);
        for users in users.chunks(CHUNK) {
            let acts: Vec<_> =
                users.iter().map(|user| (user.clone(), acts::of_dispatch(&dispatch))).collect();
            let placed = inbox.apply(app, &acts, now).await?;
            for (user, placed) in users.iter().zip(placed) {
                if let Some(placed) = placed.filter(|placed| placed.group.is_some()) {
                    shared.tell_group(app, user, placed.id, None, &name).await?;
                }
            }
        }
        if let Some(next) = next {
            return Ok(Progress::Continue(next));
        }
        inbox.dispatched(app, id).await?;
        Ok(Progress::Done)
    }

    /// A page of followers, and the one that the next page comes after.
    async fn followers(
        &self,
        app: &AppId,
        author: &UserId,
        after: Option<&UserId>,
    ) -> Result<(Vec<UserId>, Option<UserId>)> {
        let limit = self.shared.settings.page.clamp(1, 2_000);
        let mut found = self.shared.stores.graph.followers(app, author, after, limit + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.user.clone());
        Ok((found.into_iter().map(|follower| follower.user).collect(), next))
    }

    /// Writes acts of one actor and tells the recipients. Whoever began to hide the actor meanwhile has the act taken out
    /// again: the job of that block or mute may have looked before it was there.
    async fn apply(&self, row: &OutboxRow, actor: &UserId, acts: Vec<(UserId, InboxAct)>) -> Result<()> {
        let (shared, app) = (&self.shared, &row.app);
        let name = format!("i/{}", row.task.row_id().0);
        for acts in acts.chunks(CHUNK) {
            let placed = shared.stores.inbox.apply(app, acts, shared.clock.now()).await?;
            for ((user, act), placed) in acts.iter().zip(placed) {
                let adds = matches!(act, InboxAct::Add(_));
                if adds && self.hides(app, user, actor).await? {
                    self.remove_actor(row, user, actor).await?;
                    continue;
                }
                // What was added before and is gone by now was told of when it went.
                if let Some(placed) = placed.filter(|placed| !adds || placed.group.is_some()) {
                    let by = adds.then_some(actor);
                    shared.tell_group(app, user, placed.id, by, &name).await?;
                }
            }
        }
        Ok(())
    }

    async fn parents(&self, app: &AppId, post: &Post) -> Result<Parents> {
        let ids: Vec<PostId> = post.reply_to.into_iter().chain(post.repost_of).collect();
        let found = self.shared.stores.posts.get_many(app, &ids).await?;
        let author = |id: Option<PostId>| {
            let found = found.iter().flatten().find(|parent| Some(parent.id) == id);
            found.map(|parent| parent.author.clone())
        };
        Ok(Parents { reply_to: author(post.reply_to), repost_of: author(post.repost_of) })
    }

    async fn may_see(&self, app: &AppId, user: &UserId, post: &Post) -> Result<bool> {
        if post.visibility == Visibility::Public {
            return Ok(true);
        }
        Ok(self.shared.stores.graph.edge_state(app, user, &post.author).await?.0)
    }

    /// Whether a user is not notified of an actor's acts: a block either way, or a mute. By the store as it is now.
    async fn hides(&self, app: &AppId, user: &UserId, actor: &UserId) -> Result<bool> {
        let graph = &self.shared.stores.graph;
        let relations = graph.relations(app, user).await?;
        let lists = [&relations.blocks, &relations.blocked_by, &relations.mutes];
        if lists.into_iter().any(|list| list.contains(actor)) {
            return Ok(true);
        }
        if !relations.blocked_by_more {
            return Ok(false);
        }
        let blocked = graph.blocked_by(app, user, std::slice::from_ref(actor)).await?;
        Ok(blocked.first() == Some(&true))
    }

    /// Whether an act of this time was imported: nobody is notified of the past of another system. Imports run while no
    /// server does, so the mark is read once.
    async fn is_quiet(&self, app: &AppId, at_ms: u64) -> Result<bool> {
        let shared = &self.shared;
        let known = crate::sync::lock(&shared.quiet_until).get(app).copied();
        let until = if let Some(until) = known {
            until
        } else {
            let until = shared.stores.leases.raise_mark(&acts::quiet_mark(app), 0).await?;
            crate::sync::lock(&shared.quiet_until).insert(app.clone(), until);
            until
        };
        Ok(at_ms <= until)
    }
}
