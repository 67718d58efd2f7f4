//! Inboxes: groups with their events in a list, everything else found by looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use fama_protocol::{AppId, NotificationId, PostId, UnixMs, UserId};

use super::outbox::{check_request, complete_held};
use super::{App, MemoryStore, Queued, check_count, check_limit, check_text, invalid, next_version};
use crate::inbox::{
    ACTORS_SHOWN, Archived, Audience, COUNT_MAX, Dispatch, EventKey, ExpiredNotifications, InboxAct,
    InboxCounts, InboxStore, LISTED_MAX, Mark, NOTIFICATION_KEPT_MS, Notice, Notification, ONCE_MS, Placed,
    RECIPIENTS_MAX,
};
use crate::{OutboxRow, RequestKey, Result, StoredResponse, Task};

/// Acts of one call, and groups marked one by one.
const ACTS_MAX: usize = 128;
const EACH_MAX: usize = 100;
const DATA_BYTES_MAX: usize = 16 << 10;

/// One user's.
#[derive(Default)]
pub(super) struct Inbox {
    last: NotificationId,
    seen_up_to: NotificationId,
    read_up_to: NotificationId,
    version: u64,
    groups: BTreeMap<NotificationId, Group>,
    /// By group key, the group that began last.
    open: BTreeMap<String, NotificationId>,
    events: BTreeMap<EventKey, Event>,
}

struct Group {
    /// The latest notice: type, key, subject, data.
    notice: Notice,
    kind: String,
    position: NotificationId,
    created_at: UnixMs,
    updated_at: UnixMs,
    until: UnixMs,
    read: bool,
    seen: bool,
    changed_at: UnixMs,
    listed: bool,
    /// In the order of joining.
    events: Vec<EventKey>,
}

struct Event {
    version: u64,
    active: bool,
    group: Option<NotificationId>,
    until: Option<UnixMs>,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.last == PostId::ZERO && self.events.is_empty()
    }

    fn view(&self, id: NotificationId, now: UnixMs) -> Option<Notification> {
        let group = self.groups.get(&id).filter(|group| group.listed && group.until > now)?;
        let all = group.events.iter().rev().filter_map(|event| event.actor.as_ref());
        let (mut actors, mut counted) = (Vec::new(), BTreeSet::new());
        for actor in all {
            if counted.insert(actor) && actors.len() < ACTORS_SHOWN {
                actors.push(actor.clone());
            }
        }
        let actor_count = counted.len() as u64;
        Some(Notification {
            id,
            position: group.position,
            kind: group.kind.clone(),
            actors,
            actor_count,
            subject: group.notice.subject,
            data: group.notice.data.clone(),
            created_at: group.created_at,
            updated_at: group.updated_at,
            seen: group.read || group.seen || group.position <= self.seen_up_to,
            read: group.read,
        })
    }

    /// All that are listed, the highest position first.
    fn all(&self, now: UnixMs) -> Vec<Notification> {
        let mut all: Vec<_> = self.groups.keys().filter_map(|id| self.view(*id, now)).collect();
        all.sort_by_key(|group| std::cmp::Reverse(group.position));
        all
    }

    fn placed(&self, id: Option<NotificationId>, now: UnixMs) -> Option<Placed> {
        id.map(|id| Placed { id, group: self.view(id, now) })
    }

    fn event(&self, key: &EventKey, now: UnixMs) -> Option<&Event> {
        self.events.get(key).filter(|event| event.until.is_none_or(|until| until > now))
    }

    /// Takes an event out of its group; a group without events goes.
    fn leave(&mut self, key: &EventKey, now: UnixMs) {
        let place = self.event(key, now).filter(|event| event.active).and_then(|event| event.group);
        let Some(id) = place else { return };
        let Some(group) = self.groups.get_mut(&id) else { return };
        if let Some(at) = group.events.iter().rposition(|event| event == key) {
            group.events.remove(at);
        }
        if group.events.is_empty() {
            self.groups.remove(&id);
        }
    }

    /// Rows, about.
    pub(super) fn size(&self) -> usize {
        self.groups.len() + self.events.len()
    }

    /// Takes an actor's events out of their groups and forgets them. The groups that were left.
    pub(super) fn forget_actor(&mut self, actor: &UserId, now: UnixMs) -> Vec<NotificationId> {
        let theirs = self.events.keys().filter(|key| key.actor.as_ref() == Some(actor));
        let theirs: Vec<EventKey> = theirs.cloned().collect();
        let mut left = Vec::new();
        for key in &theirs {
            left.extend(self.event(key, now).filter(|event| event.active).and_then(|event| event.group));
            self.leave(key, now);
            self.events.remove(key);
        }
        left
    }

    fn apply(&mut self, act: &InboxAct, now: UnixMs) -> Option<Placed> {
        let (key, version) = match act {
            InboxAct::Add(notice) => (&notice.event, notice.version),
            InboxAct::Undo { event, version } => (event, *version),
        };
        let known = self.event(key, now).map(|event| (event.version, event.group));
        if let Some((_, group)) = known.filter(|(known, _)| *known >= version) {
            return self.placed(group, now);
        }
        self.leave(key, now);
        let event = match act {
            InboxAct::Add(notice) => {
                let id = self.join(notice, now);
                let until = notice.once.then(|| now.plus(ONCE_MS));
                Event { version, active: true, group: Some(id), until }
            }
            InboxAct::Undo { .. } => {
                let until = Some(now.plus(NOTIFICATION_KEPT_MS));
                Event { version, active: false, group: known.and_then(|(_, group)| group), until }
            }
        };
        let group = event.group;
        self.events.insert(key.clone(), event);
        self.placed(group, now)
    }

    fn join(&mut self, notice: &Notice, now: UnixMs) -> NotificationId {
        self.last = PostId::floor_of(now).max(self.last.next());
        let until = notice.expires_at.unwrap_or(now.plus(NOTIFICATION_KEPT_MS));
        if let Some(id) = self.open.get(&notice.group_key)
            && let Some(group) = self.groups.get_mut(id)
            && group.listed
            && !group.read
            && group.until > now
        {
            group.notice = notice.clone();
            group.position = self.last;
            group.updated_at = group.updated_at.max(now);
            group.changed_at = group.changed_at.max(now);
            group.until = until;
            group.seen = false;
            group.events.push(notice.event.clone());
            return *id;
        }
        let group = Group {
            notice: notice.clone(),
            kind: notice.kind.clone(),
            position: self.last,
            created_at: now,
            updated_at: now,
            until,
            read: false,
            seen: false,
            changed_at: now,
            listed: true,
            events: vec![notice.event.clone()],
        };
        self.groups.insert(self.last, group);
        self.open.insert(notice.group_key.clone(), self.last);
        let listed = self.groups.values_mut().filter(|group| group.listed);
        let mut listed: Vec<_> = listed.collect();
        if listed.len() > LISTED_MAX
            && let Some(lowest) = listed.iter_mut().min_by_key(|group| group.position)
        {
            lowest.listed = false;
        }
        self.last
    }

    fn position(&self, id: NotificationId) -> NotificationId {
        self.groups.get(&id).map_or(id, |group| group.position).min(self.last)
    }

    /// Whether anything changed, and which groups were changed one by one.
    fn mark(&mut self, mark: &Mark, now: UnixMs) -> (bool, Vec<NotificationId>) {
        match mark {
            Mark::Seen(id) => {
                let position = self.position(*id);
                let raised = position > self.seen_up_to;
                self.seen_up_to = self.seen_up_to.max(position);
                (raised, Vec::new())
            }
            Mark::Read(id) => {
                let position = self.position(*id);
                let below = self.groups.iter().filter(|(_, group)| group.position <= position);
                let below: Vec<_> = below.map(|(id, _)| *id).collect();
                let any = !self.each(&below, true, now).is_empty();
                let raised = position > self.read_up_to || position > self.seen_up_to;
                self.read_up_to = self.read_up_to.max(position);
                self.seen_up_to = self.seen_up_to.max(position);
                (any || raised, Vec::new())
            }
            Mark::ReadEach(ids) => {
                let groups = self.each(ids, true, now);
                (!groups.is_empty(), groups)
            }
            Mark::UnreadEach(ids) => {
                let groups = self.each(ids, false, now);
                (!groups.is_empty(), groups)
            }
        }
    }

    fn each(&mut self, ids: &[NotificationId], read: bool, now: UnixMs) -> Vec<NotificationId> {
        let mut changed = Vec::new();
        for id in ids {
            let Some(group) = self.groups.get_mut(id) else { continue };
            if group.listed && group.until > now && group.read != read && group.changed_at <= now {
                (group.read, group.seen, group.changed_at) = (read, true, now);
                changed.push(*id);
            }
        }
        changed
    }

    fn counts(&self, now: UnixMs) -> InboxCounts {
        let all = self.all(now);
        let unseen = all.iter().filter(|group| !group.seen).count() as u64;
        let unread = all.iter().filter(|group| !group.read).count() as u64;
        InboxCounts {
            unseen: unseen.min(COUNT_MAX),
            unread: unread.min(COUNT_MAX),
            capped: unread > COUNT_MAX,
            seen_up_to: self.seen_up_to,
            read_up_to: self.read_up_to,
        }
    }

    /// Removes what ended; whether the list changed.
    fn expire(&mut self, now: UnixMs) -> bool {
        let ended: BTreeSet<_> =
            self.groups.iter().filter(|(_, group)| group.until <= now).map(|(id, _)| *id).collect();
        let listed = ended.iter().any(|id| self.groups.get(id).is_some_and(|group| group.listed));
        self.groups.retain(|id, _| !ended.contains(id));
        self.events.retain(|_, event| match event.until {
            Some(until) => until > now,
            None => event.group.is_none_or(|id| !ended.contains(&id)),
        });
        listed
    }
}

fn check_notice(notice: &Notice) -> Result<()> {
    check_text("an event", &notice.event.name)?;
    check_text("a group", &notice.group_key)?;
    check_text("a type", &notice.kind)?;
    check_data(notice.data.as_deref())
}

fn check_data(data: Option<&str>) -> Result<()> {
    if data.is_some_and(|data| data.len() > DATA_BYTES_MAX) {
        return Err(invalid(format!("data has at most {DATA_BYTES_MAX} bytes")));
    }
    Ok(())
}

impl App {
    fn inbox(&mut self, user: &UserId) -> &mut Inbox {
        self.inboxes.entry(user.clone()).or_default()
    }

    fn inbox_changed(
        &mut self,
        app: &AppId,
        user: &UserId,
        groups: Vec<NotificationId>,
        now: UnixMs,
    ) -> OutboxRow {
        let inbox = self.inbox(user);
        inbox.version = next_version(inbox.version, now);
        let task = Task::InboxChanged { user: user.clone(), groups, version: inbox.version };
        self.owe(app, task, now)
    }
}

#[async_trait]
impl InboxStore for MemoryStore {
    async fn apply(
        &self,
        app: &AppId,
        acts: &[(UserId, InboxAct)],
        now: UnixMs,
    ) -> Result<Vec<Option<Placed>>> {
        check_count(acts.len(), ACTS_MAX)?;
        for (_, act) in acts {
            match act {
                InboxAct::Add(notice) => check_notice(notice)?,
                InboxAct::Undo { event, .. } => check_text("an event", &event.name)?,
            }
        }
        self.app(app, |rows| Ok(acts.iter().map(|(user, act)| rows.inbox(user).apply(act, now)).collect()))
    }

    async fn remove_actor(
        &self,
        app: &AppId,
        user: &UserId,
        actor: &UserId,
        limit: usize,
        now: UnixMs,
    ) -> Result<Vec<Placed>> {
        check_limit(limit, 1_000)?;
        self.app(app, |rows| {
            let inbox = rows.inbox(user);
            let events =
                inbox.events.iter().filter(|(key, event)| key.actor.as_ref() == Some(actor) && event.active);
            let keys: Vec<EventKey> = events.map(|(key, _)| key.clone()).take(limit).collect();
            let mut left: Vec<NotificationId> = Vec::new();
            for key in keys {
                inbox.leave(&key, now);
                let Some(event) = inbox.events.get_mut(&key) else { continue };
                left.extend(event.group.take().filter(|id| !left.contains(id)));
                event.active = false;
                event.until = Some(now.plus(NOTIFICATION_KEPT_MS));
            }
            Ok(left.into_iter().filter_map(|id| inbox.placed(Some(id), now)).collect())
        })
    }

    async fn mark(&self, app: &AppId, user: &UserId, mark: &Mark, now: UnixMs) -> Result<Option<OutboxRow>> {
        if let Mark::ReadEach(ids) | Mark::UnreadEach(ids) = mark {
            check_count(ids.len(), EACH_MAX)?;
        }
        self.app(app, |rows| {
            let (changed, groups) = rows.inbox(user).mark(mark, now);
            Ok(changed.then(|| rows.inbox_changed(app, user, groups, now)))
        })
    }

    async fn archive(&self, app: &AppId, user: &UserId, id: NotificationId, now: UnixMs) -> Result<Archived> {
        self.app(app, |rows| {
            let inbox = rows.inbox(user);
            let Some(group) = inbox.groups.get_mut(&id).filter(|group| group.until > now) else {
                return Ok(Archived::NotFound);
            };
            if !group.listed {
                return Ok(Archived::Before);
            }
            group.listed = false;
            Ok(Archived::Now(rows.inbox_changed(app, user, vec![id], now)))
        })
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
        check_limit(limit, 1_000)?;
        self.app(app, |rows| {
            let all = rows.inbox(user).all(now).into_iter();
            let page = all.filter(|group| before.is_none_or(|before| group.position < before));
            Ok(page.filter(|group| !unread || !group.read).take(limit).collect())
        })
    }

    async fn groups(
        &self,
        app: &AppId,
        user: &UserId,
        ids: &[NotificationId],
        now: UnixMs,
    ) -> Result<Vec<Option<Notification>>> {
        check_count(ids.len(), 1_000)?;
        self.app(app, |rows| Ok(ids.iter().map(|id| rows.inbox(user).view(*id, now)).collect()))
    }

    async fn inbox_counts(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<InboxCounts> {
        self.app(app, |rows| Ok(rows.inbox(user).counts(now)))
    }

    async fn dispatch(
        &self,
        app: &AppId,
        dispatch: &Dispatch,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow> {
        if let Audience::Users(users) = &dispatch.audience
            && !(1..=RECIPIENTS_MAX).contains(&users.len())
        {
            return Err(invalid(format!("a dispatch has 1 to {RECIPIENTS_MAX} recipients")));
        }
        for key in [Some(&dispatch.kind), dispatch.group_key.as_ref(), dispatch.dedupe_key.as_ref()] {
            key.map_or(Ok(()), |key| check_text("a key", key))?;
        }
        check_data(dispatch.data.as_deref())?;
        if let Some((key, response)) = completes {
            check_request(key, Some(response))?;
        }
        self.app(app, |rows| {
            let task = Task::Notify { dispatch: dispatch.id, priority: dispatch.priority };
            if rows.dispatches.contains_key(&dispatch.id) {
                let queued = rows.queued.get(&task.row_id()).cloned();
                return Ok(queued.unwrap_or(Queued { at: now, attempts: 0, task }).into_row(app));
            }
            if let Some((key, response)) = completes {
                complete_held(rows, key, dispatch.id, response)?;
            }
            rows.dispatches.insert(dispatch.id, dispatch.clone());
            Ok(rows.owe(app, task, now))
        })
    }

    async fn dispatch_of(&self, app: &AppId, id: NotificationId) -> Result<Option<Dispatch>> {
        self.app(app, |rows| Ok(rows.dispatches.get(&id).cloned()))
    }

    async fn dispatched(&self, app: &AppId, id: NotificationId) -> Result<()> {
        self.app(app, |rows| rows.dispatches.remove(&id));
        Ok(())
    }

    async fn expire(&self, now: UnixMs, limit: usize) -> Result<ExpiredNotifications> {
        check_limit(limit, 10_000)?;
        self.all(|state| {
            let mut expired = ExpiredNotifications::default();
            for (app, rows) in &mut state.apps {
                for (user, inbox) in &mut rows.inboxes {
                    if inbox.expire(now) {
                        expired.users.push((app.clone(), user.clone()));
                    }
                }
            }
            Ok(expired)
        })
    }
}
