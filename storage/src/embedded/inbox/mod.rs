//! Inboxes.

mod erase;
mod expire;
mod rows;
mod write;

use async_trait::async_trait;
use fama_protocol::{AppId, NotificationId, UnixMs, UserId};

pub(super) use self::erase::{ending_names, forget_event, leave_dispatch};
use self::rows::{Head, Place};
use self::write::Inbox;
use super::EmbeddedStore;
use super::idempotency::{check, complete_held};
use super::keys::{self, behind, table};
use super::rows::{check_count, check_limit, invalid};
use super::tables::{Space, View};
use super::txn::Txn;
use super::work_rows::QueuedRow;
use crate::inbox::{
    Archived, Audience, COUNT_MAX, Dispatch, ExpiredNotifications, InboxAct, InboxCounts, InboxStore, Mark,
    Notification, Placed, RECIPIENTS_MAX,
};
use crate::{OutboxRow, RequestKey, Result, StoredResponse, Task};

/// Acts of one call.
const ACTS_MAX: usize = 128;
/// Groups marked one by one in one call.
const EACH_MAX: usize = 100;

fn check_act(act: &InboxAct) -> Result<()> {
    match act {
        InboxAct::Add(notice) => {
            rows::check_key("an event", &notice.event.name)?;
            rows::check_key("a group", &notice.group_key)?;
            rows::check_key("a type", &notice.kind)?;
            rows::check_data(notice.data.as_deref())
        }
        InboxAct::Undo { event, .. } => rows::check_key("an event", &event.name),
    }
}

fn check_dispatch(dispatch: &Dispatch) -> Result<()> {
    if let Audience::Users(users) = &dispatch.audience
        && !(1..=RECIPIENTS_MAX).contains(&users.len())
    {
        return Err(invalid(format!("a dispatch has 1 to {RECIPIENTS_MAX} recipients")));
    }
    rows::check_key("a type", &dispatch.kind)?;
    for key in [&dispatch.group_key, &dispatch.dedupe_key].into_iter().flatten() {
        rows::check_key("a key", key)?;
    }
    rows::check_data(dispatch.data.as_deref())
}

/// Keeps a dispatch and owes the work.
fn dispatch(
    txn: &mut Txn<'_>,
    app: &AppId,
    dispatch: &Dispatch,
    completes: Option<(RequestKey, StoredResponse)>,
    now: UnixMs,
) -> Result<OutboxRow> {
    let task = Task::Notify { dispatch: dispatch.id, priority: dispatch.priority };
    let key = rows::dispatch(app, dispatch.id);
    if txn.get(Space::Inbox, &key)?.is_some() {
        let queued = txn.get(Space::Work, &keys::outbox(app, table::OUTBOX, &task.row_id()))?;
        let queued = match queued {
            Some(row) => QueuedRow::decode(&row)?,
            None => QueuedRow { at: now, attempts: 0, task },
        };
        return Ok(queued.into_row(app));
    }
    if let Some((key, response)) = completes {
        complete_held(txn, app, &key, dispatch.id, response)?;
    }
    txn.put(Space::Inbox, key, rows::encode_dispatch(dispatch));
    Ok(txn.owe(app, task, now))
}

fn read_head(view: &View<'_>, app: &AppId, user: &UserId) -> Result<Head> {
    Head::decode(view.get(Space::Inbox, &rows::head(app, user))?.as_deref())
}

fn read_group(
    view: &View<'_>,
    app: &AppId,
    user: &UserId,
    id: NotificationId,
    (head, now): (&Head, UnixMs),
) -> Result<Option<Notification>> {
    let row = view.get(Space::Inbox, &rows::group(app, user, id))?;
    let row = row.map(|row| rows::GroupRow::decode(&row)).transpose()?;
    Ok(row.and_then(|row| row.view(id, head, now)))
}

fn counts(view: &View<'_>, app: &AppId, user: &UserId, now: UnixMs) -> Result<InboxCounts> {
    let head = read_head(view, app, user)?;
    let (mut unseen, mut unread) = (0, 0);
    let prefix = rows::of_user(app, table::UNREAD, user).done();
    for row in view.range(Space::Inbox, prefix.clone(), behind(prefix)).rev() {
        let (key, row) = row?;
        let (position, place) = (keys::id_at_end(&key)?, Place::decode(&row)?);
        let all_seen = position <= head.seen_up_to;
        if unread > COUNT_MAX && (all_seen || unseen > COUNT_MAX) {
            break;
        }
        if place.until > now {
            unread += 1;
            unseen += u64::from(!all_seen && !place.seen);
        }
    }
    Ok(InboxCounts {
        unseen: unseen.min(COUNT_MAX),
        unread: unread.min(COUNT_MAX),
        capped: unread > COUNT_MAX,
        seen_up_to: head.seen_up_to,
        read_up_to: head.read_up_to,
    })
}

#[async_trait]
impl InboxStore for EmbeddedStore {
    async fn apply(
        &self,
        app: &AppId,
        acts: &[(UserId, InboxAct)],
        now: UnixMs,
    ) -> Result<Vec<Option<Placed>>> {
        check_count(acts.len(), ACTS_MAX)?;
        acts.iter().try_for_each(|(_, act)| check_act(act))?;
        let (app, acts) = (app.clone(), acts.to_vec());
        self.write(acts.len() * 512, move |txn| {
            let apply = |(user, act)| {
                let mut inbox = Inbox::open(txn, &app, &user, now)?;
                let placed = inbox.apply(act)?;
                inbox.close();
                Ok(placed)
            };
            acts.into_iter().map(apply).collect()
        })
        .await
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
        let (app, user, actor) = (app.clone(), user.clone(), actor.clone());
        self.write(0, move |txn| {
            let mut inbox = Inbox::open(txn, &app, &user, now)?;
            let left = inbox.remove_actor(&actor, limit)?;
            inbox.close();
            Ok(left)
        })
        .await
    }

    async fn mark(&self, app: &AppId, user: &UserId, mark: &Mark, now: UnixMs) -> Result<Option<OutboxRow>> {
        if let Mark::ReadEach(ids) | Mark::UnreadEach(ids) = mark {
            check_count(ids.len(), EACH_MAX)?;
        }
        let (app, user, mark) = (app.clone(), user.clone(), mark.clone());
        self.write(0, move |txn| {
            let mut inbox = Inbox::open(txn, &app, &user, now)?;
            let owed = inbox.mark(mark)?;
            inbox.close();
            Ok(owed)
        })
        .await
    }

    async fn archive(&self, app: &AppId, user: &UserId, id: NotificationId, now: UnixMs) -> Result<Archived> {
        let (app, user) = (app.clone(), user.clone());
        self.write(0, move |txn| {
            let mut inbox = Inbox::open(txn, &app, &user, now)?;
            let archived = inbox.archive(id)?;
            inbox.close();
            Ok(archived)
        })
        .await
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
        self.read(|tables| {
            let view = tables.view();
            let head = read_head(&view, app, user)?;
            let prefix = rows::of_user(app, if unread { table::UNREAD } else { table::LISTED }, user);
            let to = match before {
                Some(before) => prefix.clone().id(before).done(),
                None => behind(prefix.clone().done()),
            };
            let mut found = Vec::new();
            for row in view.range(Space::Inbox, prefix.done(), to).rev() {
                let id = Place::decode(&row?.1)?.id;
                found.extend(read_group(&view, app, user, id, (&head, now))?);
                if found.len() == limit {
                    break;
                }
            }
            Ok(found)
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
        self.read(|tables| {
            let view = tables.view();
            let head = read_head(&view, app, user)?;
            ids.iter().map(|id| read_group(&view, app, user, *id, (&head, now))).collect()
        })
    }

    async fn inbox_counts(&self, app: &AppId, user: &UserId, now: UnixMs) -> Result<InboxCounts> {
        self.read(|tables| counts(&tables.view(), app, user, now))
    }

    async fn dispatch(
        &self,
        app: &AppId,
        sent: &Dispatch,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow> {
        check_dispatch(sent)?;
        if let Some((key, response)) = completes {
            check(key, Some(response))?;
        }
        let completes = completes.map(|(key, response)| (key.clone(), response.clone()));
        let (app, sent) = (app.clone(), sent.clone());
        let bytes = match &sent.audience {
            Audience::Users(users) => users.len() * UserId::MAX,
            Audience::FollowersOf(_) => UserId::MAX,
        };
        let bytes = bytes + sent.data.as_ref().map_or(0, String::len);
        self.write(bytes, move |txn| dispatch(txn, &app, &sent, completes, now)).await
    }

    async fn dispatch_of(&self, app: &AppId, id: NotificationId) -> Result<Option<Dispatch>> {
        let row = self.read(|tables| tables.get(Space::Inbox, &rows::dispatch(app, id)))?;
        row.map(|row| rows::decode_dispatch(id, &row)).transpose()
    }

    async fn dispatched(&self, app: &AppId, id: NotificationId) -> Result<()> {
        let key = rows::dispatch(app, id);
        self.write(0, move |txn| {
            if txn.get(Space::Inbox, &key)?.is_some() {
                txn.delete(Space::Inbox, key);
            }
            Ok(())
        })
        .await
    }

    async fn expire(&self, now: UnixMs, limit: usize) -> Result<ExpiredNotifications> {
        check_limit(limit, 10_000)?;
        let endings = &self.core().endings;
        let places = self.read(|tables| {
            let (from, ticket) = endings.begin();
            let to = behind(rows::ending_from(now).done());
            let found = tables.view().range(Space::Time, rows::ending_from(from).done(), to);
            let places: Vec<_> = found.take(limit).map(|row| Ok(row?.0.to_vec())).collect::<Result<_>>()?;
            let first = places.first().map(|place| rows::parse_ending(place)).transpose()?;
            endings.raise(&ticket, first.map_or(now.plus(1), |(at, ..)| at));
            Ok(places)
        })?;
        if places.is_empty() {
            return Ok(ExpiredNotifications::default());
        }
        let (bytes, full) = (places.iter().map(Vec::len).sum(), places.len() == limit);
        let mut expired = self.write(bytes, move |txn| expire::expire(txn, &places, now)).await?;
        expired.more |= full;
        Ok(expired)
    }
}
