//! What users and apps do with inboxes.

use std::sync::Arc;

use fama_protocol::event::NotificationView;
use fama_protocol::{AppId, NotificationId, UserId};
use fama_storage::{
    Archived, Dispatch, InboxCounts, Mark, Notification, OutboxRow, RequestKey, StoredResponse, Task,
};
use futures_util::future::join;

use super::view::NamedViews;
use crate::Result;
use crate::shared::Shared;
use crate::sync::within;

/// A page of notifications.
#[derive(Debug)]
pub struct NotificationPage {
    /// At most as many as asked for, at falling positions.
    pub notifications: Vec<NotificationView>,
    /// The position that the next page is below; `None` at the end.
    pub next: Option<NotificationId>,
}

/// Inboxes.
#[derive(Clone)]
pub struct Inbox {
    shared: Arc<Shared>,
}

impl Inbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A page of a user's list below a position.
    pub async fn page(
        &self,
        app: &AppId,
        user: &UserId,
        before: Option<NotificationId>,
        limit: usize,
        unread: bool,
    ) -> Result<NotificationPage> {
        let (stores, now) = (&self.shared.stores, self.shared.clock.now());
        let mut groups: Vec<Notification> =
            stores.inbox.list(app, user, before, limit + 1, unread, now).await?;
        let more = groups.len() > limit;
        groups.truncate(limit);
        let next = groups.last().filter(|_| more).map(|last| last.position);
        let views = NamedViews::of(&*stores.users, app, groups.iter()).await?;
        Ok(NotificationPage {
            notifications: groups.into_iter().map(|group| views.view(group)).collect(),
            next,
        })
    }

    /// Counts and marks.
    pub async fn counts(&self, app: &AppId, user: &UserId) -> Result<InboxCounts> {
        Ok(self.shared.stores.inbox.inbox_counts(app, user, self.shared.clock.now()).await?)
    }

    /// Marks notifications, and tells all of the user's devices. `Ok`: durable; the counts as they are now.
    pub async fn mark(&self, app: &AppId, user: &UserId, mark: &Mark) -> Result<InboxCounts> {
        let shared = &self.shared;
        let owed = shared.stores.inbox.mark(app, user, mark, shared.clock.now()).await?;
        if let Some(row) = owed {
            self.changed(app, user, row).await;
        }
        self.counts(app, user).await
    }

    /// Takes a notification from the list for good. `None`: there is none with this id.
    pub async fn archive(
        &self,
        app: &AppId,
        user: &UserId,
        id: NotificationId,
    ) -> Result<Option<InboxCounts>> {
        let shared = &self.shared;
        match shared.stores.inbox.archive(app, user, id, shared.clock.now()).await? {
            Archived::NotFound => return Ok(None),
            Archived::Before => {}
            Archived::Now(row) => self.changed(app, user, row).await,
        }
        self.counts(app, user).await.map(Some)
    }

    /// Takes a notification that the app sends to many, together with the answer to repeat. `Ok`: durable; workers bring
    /// it to the inboxes.
    pub async fn dispatch(
        &self,
        app: &AppId,
        dispatch: &Dispatch,
        completes: Option<(&RequestKey, &StoredResponse)>,
    ) -> Result<()> {
        let shared = &self.shared;
        let row = shared.stores.inbox.dispatch(app, dispatch, completes, shared.clock.now()).await?;
        shared.enqueue(row).await;
        Ok(())
    }

    /// Devices are told at once, and by the job if that fails.
    async fn changed(&self, app: &AppId, user: &UserId, row: OutboxRow) {
        let shared = &self.shared;
        let Task::InboxChanged { groups, .. } = &row.task else { return };
        let (groups, name) = (groups.clone(), format!("i/{}", row.task.row_id().0));
        let tell = async {
            let tell = shared.tell_marked(app, user, &groups, &name);
            match within(&*shared.clock, shared.settings.projection_ms, tell).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::debug!(%error, "marks are left to the job"),
                None => tracing::debug!("no answer, marks are left to the job"),
            }
        };
        join(shared.enqueue(row), tell).await;
    }

    /// Tells devices what had to wait because there was much of it. To be called a few times a second.
    pub async fn tell_waiting(&self) {
        let shared = &self.shared;
        for ((app, user), groups) in shared.live_rate.due(shared.clock.monotonic_ms()) {
            let name = format!("w/{:016x}", shared.clock.random());
            if let Err(error) = shared.tell_groups(&app, &user, &groups, None, &name).await {
                // The inbox is whole; the next event brings the counts.
                tracing::debug!(%error, %user, "devices were not told");
            }
        }
    }

    /// Removes what ended, at most about `limit` (1 to 10,000) rows, and tells the devices of those whose lists
    /// changed. Whether there is more.
    pub async fn expire(&self, limit: usize) -> Result<bool> {
        let shared = &self.shared;
        let expired = shared.stores.inbox.expire(shared.clock.now(), limit).await?;
        for (app, user) in &expired.users {
            let name = format!("w/{:016x}", shared.clock.random());
            shared.tell_marked(app, user, &[], &name).await?;
        }
        Ok(expired.more)
    }
}
