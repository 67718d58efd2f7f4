//! Inboxes under simulation: acts of their store are places where others run, and may fail.

use async_trait::async_trait;
use fama_protocol::{AppId, NotificationId, UnixMs, UserId};
use fama_storage::{
    Archived, Dispatch, ExpiredNotifications, InboxAct, InboxCounts, InboxStore, Mark, Notification,
    OutboxRow, Placed, RequestKey, Result, StoredResponse,
};

use crate::stores::Sim;

#[async_trait]
impl InboxStore for Sim {
    async fn apply(
        &self,
        app: &AppId,
        acts: &[(UserId, InboxAct)],
        now: UnixMs,
    ) -> Result<Vec<Option<Placed>>> {
        self.before().await?;
        self.written(self.inner.inbox.apply(app, acts, now).await).await
    }

    async fn remove_actor(
        &self,
        app: &AppId,
        user: &UserId,
        actor: &UserId,
        limit: usize,
        now: UnixMs,
    ) -> Result<Vec<Placed>> {
        self.before().await?;
        self.written(self.inner.inbox.remove_actor(app, user, actor, limit, now).await).await
    }

    async fn mark(&self, app: &AppId, user: &UserId, mark: &Mark, now: UnixMs) -> Result<Option<OutboxRow>> {
        self.before().await?;
        self.written(self.inner.inbox.mark(app, user, mark, now).await).await
    }

    async fn archive(&self, app: &AppId, user: &UserId, id: NotificationId, now: UnixMs) -> Result<Archived> {
        self.before().await?;
        self.written(self.inner.inbox.archive(app, user, id, now).await).await
    }

    async fn list(
        &self,
        app: &AppId,
        user: &UserId,
        before: Option<NotificationId>,
        limit: usize,
        unread: bool,
        now: UnixMs,
    ) -> Result<Vec<Notification>> {
        self.before().await?;
        self.read(self.inner.inbox.list(app, user, before, limit, unread, now).await).await
    }

    async fn groups(
        &self,
        app: &AppId,
        user: &UserId,
        ids: &[NotificationId],
        now: UnixMs,
    ) -> Result<Vec<Option<Notification>>> {
        self.before().await?;
        self.read(self.inner.inbox.groups(app, user, ids, now).await).await
    }

    async fn inbox_counts(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<InboxCounts> {
        self.before().await?;
        self.read(self.inner.inbox.inbox_counts(app, user, now).await).await
    }

    async fn dispatch(
        &self,
        app: &AppId,
        dispatch: &Dispatch,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow> {
        self.before().await?;
        self.written(self.inner.inbox.dispatch(app, dispatch, completes, now).await).await
    }

    async fn dispatch_of(&self, app: &AppId, id: NotificationId) -> Result<Option<Dispatch>> {
        self.before().await?;
        self.read(self.inner.inbox.dispatch_of(app, id).await).await
    }

    async fn dispatched(&self, app: &AppId, id: NotificationId) -> Result<()> {
        self.before().await?;
        self.written(self.inner.inbox.dispatched(app, id).await).await
    }

    async fn expire(&self, now: UnixMs, limit: usize) -> Result<ExpiredNotifications> {
        self.before().await?;
        self.written(self.inner.inbox.expire(now, limit).await).await
    }
}
