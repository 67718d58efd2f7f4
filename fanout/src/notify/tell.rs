//! Telling a user's devices how the inbox is now.

use fama_protocol::{AppId, NotificationId, UserId};
use fama_storage::InboxCounts;

use super::view::{NamedViews, deleted, marked};
use crate::Result;
use crate::live::{EventRef, LiveEvent};
use crate::shared::Shared;

/// Users share these locks.
pub(crate) const LOCKS: usize = 64;

impl Shared {
    /// Which of the locks is a user's: FNV-1a, the same in every run.
    fn telling(&self, app: &AppId, user: &UserId) -> &futures_util::lock::Mutex<()> {
        let bytes = app.as_str().bytes().chain([0]).chain(user.as_str().bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let place = usize::try_from(hash >> 32).unwrap_or(0) % LOCKS;
        &self.telling[place]
    }

    /// Tells of groups as they are when it is this user's turn: whoever changed a group last also tells of it last, so
    /// that devices end with what is in the store. `actor` is who changed them, for viewers who hide them.
    pub(crate) async fn tell_groups(
        &self,
        app: &AppId,
        user: &UserId,
        groups: &[NotificationId],
        actor: Option<&UserId>,
        event_id: &str,
    ) -> Result<()> {
        let _turn = self.telling(app, user).lock().await;
        let now = self.clock.now();
        let inbox = &self.stores.inbox;
        let found = inbox.groups(app, user, groups, now).await?;
        let counts = inbox.inbox_counts(app, user, now).await?;
        let views = NamedViews::of(&*self.stores.users, app, found.iter().flatten()).await?;
        for (id, group) in groups.iter().zip(found) {
            let data = match group {
                Some(group) => views.event(group, &counts),
                None => deleted(*id, &counts),
            };
            let event = LiveEvent {
                event_id: format!("{event_id}/{id}"),
                actor: actor.unwrap_or(user).clone(),
                reference: EventRef::Notification { id: *id },
                data,
            };
            self.delivery.to_users(app, &event, std::slice::from_ref(user)).await?;
        }
        Ok(())
    }

    /// Tells of a change of one group, or later if there were many of late.
    pub(crate) async fn tell_group(
        &self,
        app: &AppId,
        user: &UserId,
        group: NotificationId,
        actor: Option<&UserId>,
        event_id: &str,
    ) -> Result<()> {
        if !self.live_rate.admit(app, user, group, self.clock.monotonic_ms()) {
            return Ok(());
        }
        self.tell_groups(app, user, &[group], actor, event_id).await
    }

    /// Tells of what was marked, and of the groups that were marked one by one. The counts as told.
    pub(crate) async fn tell_marked(
        &self,
        app: &AppId,
        user: &UserId,
        groups: &[NotificationId],
        event_id: &str,
    ) -> Result<InboxCounts> {
        if !groups.is_empty() {
            self.tell_groups(app, user, groups, None, event_id).await?;
        }
        let _turn = self.telling(app, user).lock().await;
        let counts = self.stores.inbox.inbox_counts(app, user, self.clock.now()).await?;
        let event = LiveEvent {
            event_id: event_id.to_owned(),
            actor: user.clone(),
            reference: EventRef::InboxMarked,
            data: marked(&counts),
        };
        self.delivery.to_users(app, &event, std::slice::from_ref(user)).await?;
        Ok(counts)
    }
}
