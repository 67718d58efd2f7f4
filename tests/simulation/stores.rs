//! The stores under simulation: every call is a place where others run before and after, and where it may fail.

use std::sync::Arc;

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};
use fama_storage::{
    AuthorPage, Counts, Edge, ErrorKind, FollowOutcome, Follower, GraphStore, Mode, ModeRecord, ModeStore,
    OutboxRow, OutboxStore, Post, PostChange, PostPatch, PostStore, Relation, RelationRow, Relations,
    RequestKey, Result, RowId, StorageError, StoredResponse, Stores,
};

use crate::faults::Faults;

/// Most rows of an author in one page: as many as a feed keeps. Longer pages end early.
const ROWS: usize = 3;

/// What happens to the truth, for the judge.
pub trait Witness: Send + Sync {
    /// A post is durable.
    fn inserted(&self, post: &Post);
    /// A row is done.
    fn done(&self, id: &RowId);
}

pub struct Sim {
    pub inner: Stores,
    faults: Arc<Faults>,
    witness: Arc<dyn Witness>,
}

/// Wraps the stores that feeds use.
pub fn simulated(inner: &Stores, faults: &Arc<Faults>, witness: &Arc<dyn Witness>) -> Stores {
    let (faults, witness) = (Arc::clone(faults), Arc::clone(witness));
    let sim = Arc::new(Sim { inner: inner.clone(), faults, witness });
    Stores {
        posts: sim.clone(),
        graph: sim.clone(),
        modes: sim.clone(),
        inbox: sim.clone(),
        outbox: sim,
        ..inner.clone()
    }
}

impl Sim {
    /// Before a call.
    pub async fn before(&self) -> Result<()> {
        self.faults.pause().await;
        if self.faults.read_fails() { Err(unavailable()) } else { Ok(()) }
    }

    /// After a read.
    pub async fn read<T>(&self, read: Result<T>) -> Result<T> {
        self.faults.pause().await;
        read
    }

    /// After a write, whose answer may be lost.
    pub async fn written<T>(&self, written: Result<T>) -> Result<T> {
        self.faults.pause().await;
        if self.faults.write_fails() { Err(unavailable()) } else { written }
    }
}

fn unavailable() -> StorageError {
    StorageError::new(ErrorKind::Unavailable, "simulated")
}

#[async_trait]
impl PostStore for Sim {
    async fn insert(
        &self,
        app: &AppId,
        post: &Post,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow> {
        self.before().await?;
        let inserted = self.inner.posts.insert(app, post, completes, now).await;
        if inserted.is_ok() {
            self.witness.inserted(post);
        }
        self.written(inserted).await
    }

    async fn get_many(&self, app: &AppId, ids: &[PostId]) -> Result<Vec<Option<Post>>> {
        self.before().await?;
        self.read(self.inner.posts.get_many(app, ids).await).await
    }

    async fn by_author(
        &self,
        app: &AppId,
        author: &UserId,
        before: Option<PostId>,
        limit: usize,
        pull_only: bool,
    ) -> Result<AuthorPage> {
        self.before().await?;
        self.read(self.inner.posts.by_author(app, author, before, limit.min(ROWS), pull_only).await).await
    }

    async fn newest(&self, app: &AppId, author: &UserId) -> Result<Option<PostId>> {
        self.before().await?;
        self.read(self.inner.posts.newest(app, author).await).await
    }

    async fn replies(
        &self,
        app: &AppId,
        post: PostId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<PostId>> {
        self.inner.posts.replies(app, post, before, limit).await
    }

    async fn edit(
        &self,
        app: &AppId,
        author: &UserId,
        id: PostId,
        patch: &PostPatch,
        now: UnixMs,
    ) -> Result<PostChange> {
        self.before().await?;
        self.written(self.inner.posts.edit(app, author, id, patch, now).await).await
    }

    async fn delete(
        &self,
        app: &AppId,
        author: Option<&UserId>,
        id: PostId,
        now: UnixMs,
    ) -> Result<PostChange> {
        self.before().await?;
        self.written(self.inner.posts.delete(app, author, id, now).await).await
    }
}

#[async_trait]
impl GraphStore for Sim {
    async fn follow(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        self.before().await?;
        self.written(self.inner.graph.follow(app, follower, authors, cap, now).await).await
    }

    async fn import_follows(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        self.before().await?;
        self.written(self.inner.graph.import_follows(app, follower, authors, cap, now).await).await
    }

    async fn unfollow(
        &self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        keep_history: bool,
        now: UnixMs,
    ) -> Result<Option<OutboxRow>> {
        self.before().await?;
        self.written(self.inner.graph.unfollow(app, follower, author, keep_history, now).await).await
    }

    async fn edges(&self, app: &AppId, follower: &UserId) -> Result<Vec<Edge>> {
        self.before().await?;
        self.read(self.inner.graph.edges(app, follower).await).await
    }

    async fn edges_to(
        &self,
        app: &AppId,
        followers: &[UserId],
        author: &UserId,
    ) -> Result<Vec<Option<Edge>>> {
        self.before().await?;
        self.read(self.inner.graph.edges_to(app, followers, author).await).await
    }

    async fn edge_state(&self, app: &AppId, follower: &UserId, author: &UserId) -> Result<(bool, u64)> {
        self.before().await?;
        self.read(self.inner.graph.edge_state(app, follower, author).await).await
    }

    async fn set_filled(&self, app: &AppId, follower: &UserId, author: &UserId, version: u64) -> Result<()> {
        self.before().await?;
        self.written(self.inner.graph.set_filled(app, follower, author, version).await).await
    }

    async fn followers(
        &self,
        app: &AppId,
        author: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>> {
        self.before().await?;
        self.read(self.inner.graph.followers(app, author, after, limit).await).await
    }

    async fn following(
        &self,
        app: &AppId,
        follower: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>> {
        self.before().await?;
        self.read(self.inner.graph.following(app, follower, after, limit).await).await
    }

    async fn counts(&self, app: &AppId, user: &UserId) -> Result<Counts> {
        self.before().await?;
        self.read(self.inner.graph.counts(app, user).await).await
    }

    async fn relate(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        target: &UserId,
        active: bool,
        cap: u64,
        now: UnixMs,
    ) -> Result<Option<Vec<OutboxRow>>> {
        self.before().await?;
        self.written(self.inner.graph.relate(app, user, relation, target, active, cap, now).await).await
    }

    async fn relations(&self, app: &AppId, user: &UserId) -> Result<Relations> {
        self.before().await?;
        self.read(self.inner.graph.relations(app, user).await).await
    }

    async fn blocked_by(&self, app: &AppId, user: &UserId, others: &[UserId]) -> Result<Vec<bool>> {
        self.before().await?;
        self.read(self.inner.graph.blocked_by(app, user, others).await).await
    }

    async fn related(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<RelationRow>> {
        self.inner.graph.related(app, user, relation, after, limit).await
    }
}

#[async_trait]
impl ModeStore for Sim {
    async fn mode(&self, app: &AppId, author: &UserId) -> Result<Option<ModeRecord>> {
        self.before().await?;
        self.read(self.inner.modes.mode(app, author).await).await
    }

    async fn set_mode(
        &self,
        app: &AppId,
        author: &UserId,
        expected: u64,
        mode: Mode,
        pinned: bool,
        now: UnixMs,
    ) -> Result<Option<(ModeRecord, Option<OutboxRow>)>> {
        self.before().await?;
        self.written(self.inner.modes.set_mode(app, author, expected, mode, pinned, now).await).await
    }

    async fn celebrities(&self, app: &AppId) -> Result<Vec<ModeRecord>> {
        self.before().await?;
        self.read(self.inner.modes.celebrities(app).await).await
    }

    async fn apps(&self) -> Result<Vec<AppId>> {
        self.inner.modes.apps().await
    }
}

#[async_trait]
impl OutboxStore for Sim {
    async fn due(&self, slot: u16, before: UnixMs, limit: usize) -> Result<Vec<OutboxRow>> {
        self.inner.outbox.due(slot, before, limit).await
    }

    async fn mark_done(&self, app: &AppId, id: &RowId) -> Result<()> {
        self.before().await?;
        let marked = self.inner.outbox.mark_done(app, id).await;
        self.witness.done(id);
        self.written(marked).await
    }

    async fn mark_queued(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<()> {
        self.before().await?;
        self.written(self.inner.outbox.mark_queued(app, id, now).await).await
    }

    async fn quarantine(&self, app: &AppId, id: &RowId, reason: &str) -> Result<()> {
        self.inner.outbox.quarantine(app, id, reason).await
    }

    async fn quarantined(&self, app: &AppId, limit: usize) -> Result<Vec<OutboxRow>> {
        self.inner.outbox.quarantined(app, limit).await
    }

    async fn replay(&self, app: &AppId, id: &RowId, now: UnixMs) -> Result<Option<OutboxRow>> {
        self.inner.outbox.replay(app, id, now).await
    }

    async fn backlog(&self) -> Result<u64> {
        self.inner.outbox.backlog().await
    }
}
