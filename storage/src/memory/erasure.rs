//! Erasures: a pass in one step.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::{App, MemoryStore};
use crate::erasure::PASSES_MAX;
use crate::inbox::Audience;
use crate::{
    Erasure, ErasureNext, ErasureStep, ErasureStore, GraphStore, OutboxRow, PostChange, PostStore,
    ReactionStore, Relation, Result, Task,
};

/// An erasure, and since when its pass runs.
#[derive(Clone)]
pub(super) struct Erasing {
    view: Erasure,
    pass_at: Option<UnixMs>,
}

/// What ends in the ordinary way.
struct Ordinary {
    posts: Vec<PostId>,
    edges: Vec<(UserId, UserId)>,
    relations: Vec<(bool, UserId, UserId)>,
    reactions: Vec<(PostId, String)>,
}

impl App {
    fn is_named_in_queue(&self, user: &UserId) -> bool {
        let mut tasks = self.queued.values().map(|row| &row.task);
        tasks.any(|task| !matches!(task, Task::Erase { .. }) && task.names(user))
    }

    fn ordinary(&self, user: &UserId) -> Ordinary {
        let of = |one: &UserId, other: &UserId| one == user || other == user;
        let own = self.authors.get(user).into_iter().flatten().copied();
        let there = |id: &PostId| self.posts.get(id).is_some_and(|post| !post.deleted);
        let reactions = self.reactions.iter().flat_map(|(post, all)| all.keys().map(move |key| (post, key)));
        Ordinary {
            posts: own.filter(there).collect(),
            edges: self.edges.keys().filter(|(from, to)| of(from, to)).cloned().collect(),
            relations: self
                .relations
                .iter()
                .filter(|((_, from, to), row)| of(from, to) && row.since.is_some())
                .map(|(key, _)| key.clone())
                .collect(),
            reactions: reactions
                .filter(|(_, (who, _))| who == user)
                .map(|(post, (_, kind))| (*post, kind.clone()))
                .collect(),
        }
    }

    /// Rows of all kinds, of the user or naming it: for telling whether any went.
    fn size(&self) -> usize {
        let mentions: usize = self.posts.values().map(|post| post.mentions.len()).sum();
        let events: usize = self.inboxes.values().map(super::inbox::Inbox::size).sum();
        let reactions: usize = self.reactions.values().map(|all| all.len()).sum();
        let recipients = self.dispatches.values().map(|sent| match &sent.audience {
            Audience::Users(users) => users.len(),
            Audience::FollowersOf(_) => 1,
        });
        [mentions, events, reactions, recipients.sum()].iter().sum::<usize>()
            + self.posts.len()
            + self.ended.len()
            + self.relations.len()
            + self.modes.len()
            + self.undone.len()
            + self.profiles.len()
            + self.presence.len()
            + self.inboxes.len()
            + self.aside.len()
            + self.claims.len()
    }

    /// Removes what no queued work needs any more. The groups of others that were left.
    fn remove_traces(
        &mut self,
        user: &UserId,
        ended: &[PostId],
        since: UnixMs,
        now: UnixMs,
    ) -> Vec<(UserId, PostId)> {
        let is_old =
            |from: &UserId, to: &UserId, version: u64| (from == user || to == user) && version < since.0;
        let gone: Vec<PostId> = self.authors.get(user).into_iter().flatten().copied().collect();
        for id in gone.into_iter().filter(|id| !ended.contains(id)) {
            let post = self.posts.remove(&id);
            if let Some(replies) =
                post.and_then(|post| post.reply_to).and_then(|to| self.replies.get_mut(&to))
            {
                replies.remove(&id);
            }
            self.authors.entry(user.clone()).or_default().remove(&id);
            self.reactions.remove(&id);
            self.undone.retain(|(post, _), _| *post != id);
        }
        self.ended.retain(|(from, to), version| !is_old(from, to, *version));
        self.relations.retain(|(_, from, to), row| row.since.is_some() || !is_old(from, to, row.version));
        self.undone.retain(|(_, who), version| who != user || *version >= since.0);
        self.modes.remove(user);
        self.profiles.remove(user);
        self.presence.remove(user);
        self.inboxes.remove(user);
        self.claims.retain(|(who, _, _), _| who != user);
        self.aside.retain(|_, (task, _)| !task.names(user));
        for post in self.posts.values_mut() {
            post.mentions.retain(|other| other != user);
        }
        for sent in self.dispatches.values_mut() {
            match &mut sent.audience {
                Audience::Users(users) => users.retain(|other| other != user),
                audience if *audience == Audience::FollowersOf(user.clone()) => {
                    *audience = Audience::Users(Vec::new());
                }
                Audience::FollowersOf(_) => {}
            }
        }
        let inboxes = self.inboxes.iter_mut();
        inboxes
            .flat_map(|(owner, inbox)| {
                inbox.forget_actor(user, now).into_iter().map(|group| (owner.clone(), group))
            })
            .collect()
    }
}

impl MemoryStore {
    async fn end_ordinary(
        &self,
        app: &AppId,
        user: &UserId,
        all: &Ordinary,
        now: UnixMs,
    ) -> Result<Vec<OutboxRow>> {
        let mut owed = Vec::new();
        for id in &all.posts {
            if let PostChange::Changed(_, row) = self.delete(app, Some(user), *id, now).await? {
                owed.push(row);
            }
        }
        for (follower, author) in &all.edges {
            owed.extend(GraphStore::unfollow(self, app, follower, author, false, now).await?);
        }
        for (mute, from, to) in &all.relations {
            let relation = if *mute { Relation::Mute } else { Relation::Block };
            let rows = self.relate(app, from, relation, to, false, u64::MAX, now).await?;
            owed.extend(rows.unwrap_or_default());
        }
        for (post, kind) in &all.reactions {
            owed.extend(self.react(app, *post, user, kind, false, now).await?);
        }
        Ok(owed)
    }
}

#[async_trait]
impl ErasureStore for MemoryStore {
    async fn begin_erasure(
        &self,
        app: &AppId,
        user: &UserId,
        now: UnixMs,
    ) -> Result<(Erasure, Option<OutboxRow>)> {
        self.app(app, |rows| {
            if let Some(running) = rows.erasures.get(user).filter(|row| row.view.finished_at.is_none()) {
                let task = Task::Erase { user: user.clone(), version: running.view.started_at.0 };
                let queued = rows.queued.get(&task.row_id()).cloned();
                return Ok((running.view.clone(), queued.map(|row| row.into_row(app))));
            }
            let total = rows.size() as u64;
            let view =
                Erasure { started_at: now, finished_at: None, pass: 1, looked_at: 0, total, removed: 0 };
            rows.erasures.insert(user.clone(), Erasing { view: view.clone(), pass_at: Some(now) });
            let owed = rows.owe(app, Task::Erase { user: user.clone(), version: now.0 }, now);
            Ok((view, Some(owed)))
        })
    }

    async fn erasure(&self, app: &AppId, user: &UserId) -> Result<Option<Erasure>> {
        self.app(app, |rows| Ok(rows.erasures.get(user).map(|row| row.view.clone())))
    }

    async fn erase(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<ErasureStep> {
        let step = |next| Ok(ErasureStep { next, ..ErasureStep::default() });
        let record = self.app(app, |rows| rows.erasures.get(user).cloned());
        let Some(record) = record.filter(|record| record.view.finished_at.is_none()) else {
            return step(ErasureNext::Done);
        };
        let Some(since) = record.pass_at else {
            let named = self.app(app, |rows| rows.is_named_in_queue(user));
            if named {
                return step(ErasureNext::Waiting);
            }
            self.app(app, |rows| {
                rows.erasures.entry(user.clone()).and_modify(|row| row.pass_at = Some(now));
            });
            return step(ErasureNext::More);
        };
        let ordinary = self.app(app, |rows| rows.ordinary(user));
        let owed = self.end_ordinary(app, user, &ordinary, now).await?;
        self.app(app, |rows| {
            let before = rows.size();
            let left = rows.remove_traces(user, &ordinary.posts, since, now);
            let went = (before - rows.size()) as u64;
            let waits = rows.ended.keys().any(|(from, to)| from == user || to == user)
                || rows.relations.keys().any(|(_, from, to)| from == user || to == user)
                || rows.undone.keys().any(|(_, who)| who == user);
            let mut record = record;
            record.view.removed += went + owed.len() as u64;
            let clean = owed.is_empty() && went == 0 && !waits;
            if clean || record.view.pass >= PASSES_MAX {
                record.view.finished_at = Some(now);
            } else {
                record.view.pass += 1;
                record.pass_at = None;
            }
            let next = if record.view.finished_at.is_some() { ErasureNext::Done } else { ErasureNext::More };
            rows.erasures.insert(user.clone(), record);
            Ok(ErasureStep { owed, left, next })
        })
    }
}
