//! Writes of one inbox, in a batch.

use fama_protocol::{AppId, NotificationId, PostId, UnixMs, UserId};

use super::rows::{self, Ending, EventRow, GroupRow, Head, Place, decode_joined, encode_joined};
use crate::embedded::keys::{behind, just_after, table};
use crate::embedded::rows::{decode_numbers, empty_row, encode_numbers};
use crate::embedded::tables::Space;
use crate::embedded::txn::Txn;
use crate::inbox::{
    ACTORS_SHOWN, EventKey, InboxAct, LISTED_MAX, Mark, NOTIFICATION_KEPT_MS, Notice, ONCE_MS, Placed,
};
use crate::{Archived, OutboxRow, Result, Task};

/// Rows read at once.
const CHUNK: usize = 64;

/// One user's inbox within a batch.
pub(super) struct Inbox<'t, 'a> {
    pub txn: &'t mut Txn<'a>,
    pub app: &'t AppId,
    pub user: &'t UserId,
    pub now: UnixMs,
    head: Head,
    stored: Head,
}

impl<'t, 'a> Inbox<'t, 'a> {
    pub fn open(txn: &'t mut Txn<'a>, app: &'t AppId, user: &'t UserId, now: UnixMs) -> Result<Self> {
        let head = Head::decode(txn.get(Space::Inbox, &rows::head(app, user))?.as_deref())?;
        Ok(Self { txn, app, user, now, stored: head.clone(), head })
    }

    /// Writes what is left to write.
    pub fn close(self) {
        if self.head != self.stored {
            self.txn.put(Space::Inbox, rows::head(self.app, self.user), self.head.encode());
        }
    }

    pub fn group(&self, id: NotificationId) -> Result<Option<GroupRow>> {
        let row = self.txn.get(Space::Inbox, &rows::group(self.app, self.user, id))?;
        row.map(|row| GroupRow::decode(&row)).transpose()
    }

    fn put_group(&mut self, id: NotificationId, group: &GroupRow) {
        self.txn.put(Space::Inbox, rows::group(self.app, self.user, id), group.encode());
    }

    /// The event as it is remembered.
    fn event(&self, key: &EventKey) -> Result<Option<EventRow>> {
        let row = self.txn.get(Space::Inbox, &rows::event(self.app, self.user, key))?;
        let row = row.map(|row| EventRow::decode(&row)).transpose()?;
        Ok(row.filter(|row| row.until.is_none_or(|until| until > self.now)))
    }

    fn put_event(&mut self, key: &EventKey, event: &EventRow) {
        self.txn.put(Space::Inbox, rows::event(self.app, self.user, key), event.encode());
        if let Some(until) = event.until {
            self.put_ending(until, &Ending::Event(key.clone()));
        }
    }

    pub fn put_ending(&mut self, at: UnixMs, what: &Ending) {
        self.txn.put(Space::Time, rows::ending(at, self.app, self.user, what), empty_row());
        self.txn.ending(at);
    }

    /// Puts a group's places where its position is now.
    fn put_places(&mut self, id: NotificationId, group: &GroupRow) {
        let place = Place { id, until: group.until, seen: group.seen }.encode();
        let unread = rows::unread(self.app, self.user, group.position);
        if group.read {
            self.txn.delete(Space::Inbox, unread);
        } else {
            self.txn.put(Space::Inbox, unread, place.clone());
        }
        self.txn.put(Space::Inbox, rows::listed(self.app, self.user, group.position), place);
    }

    fn delete_places(&mut self, position: NotificationId) {
        self.txn.delete(Space::Inbox, rows::unread(self.app, self.user, position));
        self.txn.delete(Space::Inbox, rows::listed(self.app, self.user, position));
    }

    /// Takes a group from the list.
    pub fn unlist(&mut self, group: &mut GroupRow) {
        if group.listed {
            group.listed = false;
            self.head.listed = self.head.listed.saturating_sub(1);
            self.delete_places(group.position);
        }
    }

    fn placed(&self, id: Option<NotificationId>) -> Result<Option<Placed>> {
        let Some(id) = id else { return Ok(None) };
        let group = self.group(id)?.and_then(|group| group.view(id, &self.head, self.now));
        Ok(Some(Placed { id, group }))
    }

    fn mint(&mut self) -> NotificationId {
        self.head.last = PostId::floor_of(self.now).max(self.head.last.next());
        self.head.last
    }

    pub fn apply(&mut self, act: InboxAct) -> Result<Option<Placed>> {
        match act {
            InboxAct::Add(notice) => self.add(notice),
            InboxAct::Undo { event, version } => self.undo(&event, version),
        }
    }

    fn add(&mut self, notice: Notice) -> Result<Option<Placed>> {
        if let Some(event) = self.event(&notice.event)? {
            if event.version >= notice.version {
                return self.placed(event.group);
            }
            self.leave(&notice.event, &event)?;
        }
        let position = self.mint();
        let until = notice.expires_at.unwrap_or(self.now.plus(NOTIFICATION_KEPT_MS));
        let (id, mut group) = match self.joinable(&notice.group_key)? {
            Some((id, mut group)) => {
                self.delete_places(group.position);
                if until < group.until {
                    self.put_ending(until, &Ending::Group(id));
                }
                group.updated_at = group.updated_at.max(self.now);
                group.changed_at = group.changed_at.max(self.now);
                group.seen = false;
                (group.subject, group.data) = (notice.subject, notice.data);
                (id, group)
            }
            None => (position, self.begin(position, until, &notice)),
        };
        group.position = position;
        group.until = until;
        group.events += 1;
        self.join(id, &mut group, &notice.event)?;
        self.put_places(id, &group);
        self.put_group(id, &group);
        let until = notice.once.then(|| self.now.plus(ONCE_MS));
        let event = EventRow { version: notice.version, active: true, group: Some(id), position, until };
        self.put_event(&notice.event, &event);
        self.trim()?;
        self.placed(Some(id))
    }

    /// The group that events of a key join now.
    fn joinable(&self, key: &str) -> Result<Option<(NotificationId, GroupRow)>> {
        let Some(row) = self.txn.get(Space::Inbox, &rows::open(self.app, self.user, key))? else {
            return Ok(None);
        };
        let id = Place::decode(&row)?.id;
        let group = self.group(id)?.filter(|group| group.listed && !group.read && group.until > self.now);
        Ok(group.map(|group| (id, group)))
    }

    fn begin(&mut self, id: NotificationId, until: UnixMs, notice: &Notice) -> GroupRow {
        let open = Place { id, until, seen: false }.encode();
        self.txn.put(Space::Inbox, rows::open(self.app, self.user, &notice.group_key), open);
        self.put_ending(until, &Ending::Group(id));
        self.head.listed += 1;
        GroupRow {
            kind: notice.kind.clone(),
            key: notice.group_key.clone(),
            subject: notice.subject,
            data: notice.data.clone(),
            created_at: self.now,
            updated_at: self.now,
            position: id,
            until,
            read: false,
            seen: false,
            changed_at: self.now,
            listed: true,
            events: 0,
            actor_count: 0,
            actors: Vec::new(),
        }
    }

    /// An event's actor is among the group's from now on.
    fn join(&mut self, id: NotificationId, group: &mut GroupRow, event: &EventKey) -> Result<()> {
        let joined = rows::joined(self.app, self.user, id, group.position);
        self.txn.put(Space::Inbox, joined, encode_joined(event));
        let Some(actor) = &event.actor else { return Ok(()) };
        let (key, events) = self.member(id, actor)?;
        self.txn.put(Space::Inbox, key, encode_numbers([events + 1]));
        group.actor_count += u64::from(events == 0);
        group.actors.retain(|other| other != actor);
        group.actors.insert(0, actor.clone());
        group.actors.truncate(ACTORS_SHOWN);
        Ok(())
    }

    /// How many of the group's events are an actor's, and the row that says so.
    fn member(&self, id: NotificationId, actor: &UserId) -> Result<(Vec<u8>, u64)> {
        let key = rows::member(self.app, self.user, id, actor);
        let row = self.txn.get(Space::Inbox, &key)?;
        let [events] = row.map_or(Ok([0]), |row| decode_numbers("member", &row))?;
        Ok((key, events))
    }

    fn undo(&mut self, key: &EventKey, version: u64) -> Result<Option<Placed>> {
        let old = self.event(key)?;
        if let Some(event) = &old {
            if event.version >= version {
                return self.placed(event.group);
            }
            self.leave(key, event)?;
        }
        let group = old.and_then(|event| event.group);
        let until = Some(self.now.plus(NOTIFICATION_KEPT_MS));
        let event = EventRow { version, active: false, group, position: PostId::ZERO, until };
        self.put_event(key, &event);
        self.placed(group)
    }

    /// Takes an event out of its group, if it is in one. What is remembered of the event is the caller's.
    pub fn leave(&mut self, key: &EventKey, event: &EventRow) -> Result<()> {
        let Some(id) = event.group.filter(|_| event.active) else { return Ok(()) };
        let Some(mut group) = self.group(id)? else { return Ok(()) };
        self.txn.delete(Space::Inbox, rows::joined(self.app, self.user, id, event.position));
        group.events = group.events.saturating_sub(1);
        if let Some(actor) = &key.actor {
            let (member, events) = self.member(id, actor)?;
            if events > 1 {
                self.txn.put(Space::Inbox, member, encode_numbers([events - 1]));
            } else {
                self.txn.delete(Space::Inbox, member);
                group.actor_count = group.actor_count.saturating_sub(1);
            }
        }
        if group.events == 0 {
            self.unlist(&mut group);
            self.close_open(id, &group)?;
            self.txn.delete(Space::Inbox, rows::group(self.app, self.user, id));
            return Ok(());
        }
        group.actors = self.latest_actors(id)?;
        self.put_group(id, &group);
        Ok(())
    }

    /// Events of the group's key no longer lead to it.
    pub fn close_open(&mut self, id: NotificationId, group: &GroupRow) -> Result<()> {
        let open = rows::open(self.app, self.user, &group.key);
        if let Some(row) = self.txn.get(Space::Inbox, &open)?
            && Place::decode(&row)?.id == id
        {
            self.txn.delete(Space::Inbox, open);
        }
        Ok(())
    }

    fn latest_actors(&self, id: NotificationId) -> Result<Vec<UserId>> {
        let prefix = rows::joined_of(self.app, self.user, id).done();
        let (mut from, end) = (prefix.clone(), behind(prefix));
        let mut actors: Vec<UserId> = Vec::new();
        loop {
            let found = self.txn.range(Space::Inbox, from.clone(), end.clone(), CHUNK)?;
            for (_, row) in &found {
                let actor = decode_joined(row)?.actor.filter(|actor| !actors.contains(actor));
                actors.extend(actor);
                if actors.len() == ACTORS_SHOWN {
                    return Ok(actors);
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == CHUNK => from = just_after(last.to_vec()),
                _ => return Ok(actors),
            }
        }
    }

    /// Archives the group at the lowest position if the list is too long.
    fn trim(&mut self) -> Result<()> {
        while self.head.listed > LISTED_MAX as u64 {
            let prefix = rows::of_user(self.app, table::LISTED, self.user).done();
            let lowest = self.txn.range(Space::Inbox, prefix.clone(), behind(prefix), 1)?;
            let Some((_, place)) = lowest.first() else { return Ok(()) };
            let id = Place::decode(place)?.id;
            let Some(mut group) = self.group(id)? else { return Ok(()) };
            self.unlist(&mut group);
            self.put_group(id, &group);
        }
        Ok(())
    }

    pub fn remove_actor(&mut self, actor: &UserId, limit: usize) -> Result<Vec<Placed>> {
        let prefix = rows::of_actor(self.app, self.user, Some(actor)).done();
        let (mut from, end) = (prefix.clone(), behind(prefix.clone()));
        let (mut left, mut removed) = (Vec::new(), 0);
        loop {
            let found = self.txn.range(Space::Inbox, from.clone(), end.clone(), CHUNK)?;
            for (key, row) in &found {
                let mut event = EventRow::decode(row)?;
                if !event.active || removed == limit {
                    continue;
                }
                let name = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default());
                let name = name.map_err(|_| crate::embedded::codec::broken("event"))?.to_owned();
                let key = EventKey { actor: Some(actor.clone()), name };
                self.leave(&key, &event)?;
                left.extend(event.group.take().filter(|id| !left.contains(id)));
                event.active = false;
                event.until = Some(self.now.plus(NOTIFICATION_KEPT_MS));
                self.put_event(&key, &event);
                removed += 1;
            }
            match found.last() {
                Some((last, _)) if found.len() == CHUNK && removed < limit => {
                    from = just_after(last.to_vec());
                }
                _ => break,
            }
        }
        Ok(left
            .into_iter()
            .map(|id| self.placed(Some(id)))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    pub fn mark(&mut self, mark: Mark) -> Result<Option<OutboxRow>> {
        let (changed, groups) = match mark {
            Mark::Seen(id) => (self.raise_seen(id)?, Vec::new()),
            Mark::Read(id) => (self.read_up_to(id)?, Vec::new()),
            Mark::ReadEach(ids) => self.each(ids, true)?,
            Mark::UnreadEach(ids) => self.each(ids, false)?,
        };
        Ok(changed.then(|| self.changed(groups)))
    }

    fn changed(&mut self, groups: Vec<NotificationId>) -> OutboxRow {
        self.head.version = self.now.0.max(self.head.version + 1);
        let task = Task::InboxChanged { user: self.user.clone(), groups, version: self.head.version };
        self.txn.owe(self.app, task, self.now)
    }

    /// The position that an id stands for.
    fn position(&self, id: NotificationId) -> Result<NotificationId> {
        Ok(self.group(id)?.map_or(id, |group| group.position).min(self.head.last))
    }

    fn raise_seen(&mut self, id: NotificationId) -> Result<bool> {
        let position = self.position(id)?;
        let raised = position > self.head.seen_up_to;
        self.head.seen_up_to = self.head.seen_up_to.max(position);
        Ok(raised)
    }

    fn read_up_to(&mut self, id: NotificationId) -> Result<bool> {
        let position = self.position(id)?;
        let prefix = rows::of_user(self.app, table::UNREAD, self.user).done();
        let end = just_after(rows::unread(self.app, self.user, position));
        let mut changed = false;
        for (_, place) in self.txn.range(Space::Inbox, prefix, end, LISTED_MAX)? {
            changed |= self.set_read(Place::decode(&place)?.id, true)?;
        }
        changed |= position > self.head.read_up_to.min(self.head.seen_up_to);
        self.head.read_up_to = self.head.read_up_to.max(position);
        self.head.seen_up_to = self.head.seen_up_to.max(position);
        Ok(changed)
    }

    fn each(&mut self, ids: Vec<NotificationId>, read: bool) -> Result<(bool, Vec<NotificationId>)> {
        let mut groups = Vec::new();
        for id in ids {
            if self.set_read(id, read)? {
                groups.push(id);
            }
        }
        Ok((!groups.is_empty(), groups))
    }

    fn set_read(&mut self, id: NotificationId, read: bool) -> Result<bool> {
        let group = self.group(id)?.filter(|group| {
            group.listed && group.until > self.now && group.read != read && group.changed_at <= self.now
        });
        let Some(mut group) = group else { return Ok(false) };
        group.read = read;
        group.seen = true;
        group.changed_at = self.now;
        self.put_places(id, &group);
        self.put_group(id, &group);
        Ok(true)
    }

    pub fn archive(&mut self, id: NotificationId) -> Result<Archived> {
        let Some(mut group) = self.group(id)?.filter(|group| group.until > self.now) else {
            return Ok(Archived::NotFound);
        };
        if !group.listed {
            return Ok(Archived::Before);
        }
        self.unlist(&mut group);
        self.put_group(id, &group);
        Ok(Archived::Now(self.changed(vec![id])))
    }
}
