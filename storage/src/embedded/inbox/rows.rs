//! Rows of inboxes: their keys and bytes.

use fama_protocol::{AppId, NotificationId, PostId, UnixMs, UserId};

use crate::embedded::codec::{Decoder, Encoder, broken};
use crate::embedded::keys::{self, Key, table};
use crate::embedded::rows::{decode_numbers, encode_numbers, post_id, user_id};
use crate::inbox::{Audience, Dispatch, EventKey, Notification, Priority};
use crate::{ErrorKind, Result, StorageError};

const V: u8 = 1;

/// Numbers about an inbox.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The highest position.
    pub last: NotificationId,
    pub seen_up_to: NotificationId,
    pub read_up_to: NotificationId,
    /// Groups in the list.
    pub listed: u64,
    /// Of the user's last change.
    pub version: u64,
}

impl Head {
    pub fn encode(&self) -> Vec<u8> {
        let positions = [self.last, self.seen_up_to, self.read_up_to].map(PostId::get);
        let [last, seen, read] = positions;
        encode_numbers([last, seen, read, self.listed, self.version])
    }

    pub fn decode(row: Option<&[u8]>) -> Result<Self> {
        let Some(row) = row else { return Ok(Self::default()) };
        let [last, seen, read, listed, version] = decode_numbers("inbox", row)?;
        let position = |number| PostId::from_u64(number).ok_or_else(|| broken("inbox"));
        Ok(Self {
            last: position(last)?,
            seen_up_to: position(seen)?,
            read_up_to: position(read)?,
            listed,
            version,
        })
    }
}

/// A group.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct GroupRow {
    pub kind: String,
    pub key: String,
    pub subject: Option<PostId>,
    pub data: Option<String>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
    pub position: NotificationId,
    /// When it ends.
    pub until: UnixMs,
    pub read: bool,
    /// Seen by itself, above the mark.
    pub seen: bool,
    /// When read or unread was decided last.
    pub changed_at: UnixMs,
    pub listed: bool,
    /// Events in it.
    pub events: u64,
    pub actor_count: u64,
    pub actors: Vec<UserId>,
}

impl GroupRow {
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.read) | u8::from(self.seen) << 1 | u8::from(self.listed) << 2;
        let row = Encoder::row(V)
            .text(&self.kind)
            .text(&self.key)
            .optional_uint(self.subject.map(PostId::get))
            .optional_text(self.data.as_deref())
            .uint(self.created_at.0)
            .uint(self.updated_at.0)
            .uint(self.position.get())
            .uint(self.until.0)
            .byte(flags)
            .uint(self.changed_at.0)
            .uint(self.events)
            .uint(self.actor_count)
            .uint(self.actors.len() as u64);
        self.actors.iter().fold(row, |row, actor| row.text(actor.as_str())).finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Decoder::row("group", bytes, V)?;
        let (kind, key) = (row.text()?.to_owned(), row.text()?.to_owned());
        let subject = if row.flag()? { Some(post_id(&mut row)?) } else { None };
        let data = row.optional_text()?;
        let (created_at, updated_at) = (UnixMs(row.uint()?), UnixMs(row.uint()?));
        let position = post_id(&mut row)?;
        let until = UnixMs(row.uint()?);
        let flags = row.byte()?;
        let changed_at = UnixMs(row.uint()?);
        let (events, actor_count) = (row.uint()?, row.uint()?);
        let actors = (0..row.uint()?).map(|_| user_id(&mut row)).collect::<Result<_>>()?;
        row.finish(Self {
            kind,
            key,
            subject,
            data,
            created_at,
            updated_at,
            position,
            until,
            read: flags & 1 != 0,
            seen: flags & 2 != 0,
            changed_at,
            listed: flags & 4 != 0,
            events,
            actor_count,
            actors,
        })
    }

    /// As its recipient sees it: nothing, if it left the list or ended.
    pub fn view(self, id: NotificationId, head: &Head, now: UnixMs) -> Option<Notification> {
        (self.listed && self.until > now).then(|| Notification {
            id,
            position: self.position,
            kind: self.kind,
            actors: self.actors,
            actor_count: self.actor_count,
            subject: self.subject,
            data: self.data,
            created_at: self.created_at,
            updated_at: self.updated_at,
            seen: self.read || self.seen || self.position <= head.seen_up_to,
            read: self.read,
        })
    }
}

/// Where an event is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EventRow {
    pub version: u64,
    /// In the group. Else it was undone, or taken out.
    pub active: bool,
    pub group: Option<NotificationId>,
    /// Where it joined.
    pub position: NotificationId,
    /// Until when it is remembered; `None`: with its group.
    pub until: Option<UnixMs>,
}

impl EventRow {
    pub fn encode(&self) -> Vec<u8> {
        Encoder::row(V)
            .uint(self.version)
            .byte(u8::from(self.active))
            .optional_uint(self.group.map(PostId::get))
            .uint(self.position.get())
            .optional_uint(self.until.map(|at| at.0))
            .finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Decoder::row("event", bytes, V)?;
        let (version, active) = (row.uint()?, row.flag()?);
        let group = if row.flag()? { Some(post_id(&mut row)?) } else { None };
        let position = post_id(&mut row)?;
        let until = row.optional_uint()?.map(UnixMs);
        row.finish(Self { version, active, group, position, until })
    }
}

/// A place in the list, or among the unread.
pub(super) struct Place {
    pub id: NotificationId,
    pub until: UnixMs,
    pub seen: bool,
}

impl Place {
    pub fn encode(&self) -> Vec<u8> {
        encode_numbers([self.id.get(), self.until.0, u64::from(self.seen)])
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let [id, until, seen] = decode_numbers("inbox place", bytes)?;
        let id = PostId::from_u64(id).ok_or_else(|| broken("inbox place"))?;
        Ok(Self { id, until: UnixMs(until), seen: seen == 1 })
    }
}

pub(super) fn encode_joined(event: &EventKey) -> Vec<u8> {
    Encoder::row(V).optional_text(event.actor.as_ref().map(UserId::as_str)).text(&event.name).finish()
}

pub(super) fn decode_joined(bytes: &[u8]) -> Result<EventKey> {
    let mut row = Decoder::row("joined event", bytes, V)?;
    let actor = if row.flag()? { Some(user_id(&mut row)?) } else { None };
    let name = row.text()?.to_owned();
    row.finish(EventKey { actor, name })
}

pub(super) fn encode_dispatch(dispatch: &Dispatch) -> Vec<u8> {
    let row = Encoder::row(V);
    let row = match &dispatch.audience {
        Audience::Users(users) => {
            let row = row.byte(0).uint(users.len() as u64);
            users.iter().fold(row, |row, user| row.text(user.as_str()))
        }
        Audience::FollowersOf(author) => row.byte(1).text(author.as_str()),
    };
    row.text(&dispatch.kind)
        .optional_text(dispatch.data.as_deref())
        .optional_text(dispatch.group_key.as_deref())
        .optional_text(dispatch.dedupe_key.as_deref())
        .byte(dispatch.priority as u8)
        .optional_uint(dispatch.expires_at.map(|at| at.0))
        .finish()
}

pub(super) fn decode_dispatch(id: NotificationId, bytes: &[u8]) -> Result<Dispatch> {
    let mut row = Decoder::row("dispatch", bytes, V)?;
    let audience = match row.byte()? {
        0 => Audience::Users((0..row.uint()?).map(|_| user_id(&mut row)).collect::<Result<_>>()?),
        1 => Audience::FollowersOf(user_id(&mut row)?),
        _ => return Err(row.broken()),
    };
    let kind = row.text()?.to_owned();
    let (data, group_key, dedupe_key) = (row.optional_text()?, row.optional_text()?, row.optional_text()?);
    let priority = match row.byte()? {
        0 => Priority::Urgent,
        1 => Priority::Normal,
        2 => Priority::Bulk,
        _ => return Err(row.broken()),
    };
    let expires_at = row.optional_uint()?.map(UnixMs);
    row.finish(Dispatch { id, audience, kind, data, group_key, dedupe_key, priority, expires_at })
}

/// The prefix of one user's rows of a table.
pub(super) fn of_user(app: &AppId, table: u8, user: &UserId) -> Key {
    keys::from_user(app, table, user)
}

pub(super) fn head(app: &AppId, user: &UserId) -> Vec<u8> {
    keys::user(app, table::INBOX, user)
}

pub(super) fn group(app: &AppId, user: &UserId, id: NotificationId) -> Vec<u8> {
    of_user(app, table::GROUP, user).id(id).done()
}

pub(super) fn listed(app: &AppId, user: &UserId, position: NotificationId) -> Vec<u8> {
    of_user(app, table::LISTED, user).id(position).done()
}

pub(super) fn unread(app: &AppId, user: &UserId, position: NotificationId) -> Vec<u8> {
    of_user(app, table::UNREAD, user).id(position).done()
}

pub(super) fn open(app: &AppId, user: &UserId, group_key: &str) -> Vec<u8> {
    of_user(app, table::OPEN, user).last(group_key)
}

/// The prefix of one actor's events.
pub(super) fn of_actor(app: &AppId, user: &UserId, actor: Option<&UserId>) -> Key {
    of_user(app, table::EVENT, user).text(actor.map_or("", UserId::as_str))
}

pub(super) fn event(app: &AppId, user: &UserId, event: &EventKey) -> Vec<u8> {
    of_actor(app, user, event.actor.as_ref()).last(&event.name)
}

pub(super) fn member(app: &AppId, user: &UserId, id: NotificationId, actor: &UserId) -> Vec<u8> {
    of_user(app, table::MEMBER, user).id(id).last(actor.as_str())
}

/// The prefix of a group's events, the latest first.
pub(super) fn joined_of(app: &AppId, user: &UserId, id: NotificationId) -> Key {
    of_user(app, table::JOINED, user).id(id)
}

pub(super) fn joined(app: &AppId, user: &UserId, id: NotificationId, position: NotificationId) -> Vec<u8> {
    joined_of(app, user, id).number(u64::MAX - position.get()).done()
}

pub(super) fn dispatch(app: &AppId, id: NotificationId) -> Vec<u8> {
    Key::of(app, table::DISPATCH).id(id).done()
}

pub(super) fn ending_from(at: UnixMs) -> Key {
    Key::global(table::ENDING).number(at.0)
}

/// What ends at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Group(NotificationId),
    Event(EventKey),
}

pub(super) fn ending(at: UnixMs, app: &AppId, user: &UserId, what: &Ending) -> Vec<u8> {
    let key = ending_from(at).text(app.as_str()).text(user.as_str());
    match what {
        Ending::Group(id) => key.byte(b'g').id(*id).done(),
        Ending::Event(event) => {
            key.byte(b'e').text(event.actor.as_ref().map_or("", UserId::as_str)).last(&event.name)
        }
    }
}

/// The parts of an [`ending`] key.
pub(super) fn parse_ending(key: &[u8]) -> Result<(UnixMs, AppId, UserId, Ending)> {
    parts_of_ending(key).ok_or_else(|| broken("ending"))
}

fn parts_of_ending(key: &[u8]) -> Option<(UnixMs, AppId, UserId, Ending)> {
    let (time, rest) = key.get(1..)?.split_at_checked(8)?;
    let at = UnixMs(keys::be_number(time)?);
    let (app, rest) = keys::split_text(rest)?;
    let (user, rest) = keys::split_text(rest)?;
    let what = match rest.split_first()? {
        (b'g', id) => Ending::Group(PostId::from_be_bytes(id.try_into().ok()?)?),
        (b'e', rest) => {
            let (actor, name) = keys::split_text(rest)?;
            let actor = if actor.is_empty() { None } else { Some(UserId::new(actor).ok()?) };
            Ending::Event(EventKey { actor, name: std::str::from_utf8(name).ok()?.to_owned() })
        }
        _ => return None,
    };
    Some((at, AppId::new(app).ok()?, UserId::new(user).ok()?, what))
}

/// Checks a text that becomes part of a key.
pub(super) fn check_key(what: &str, text: &str) -> Result<()> {
    keys::check_text(what, text)
}

/// Checks an app's JSON.
pub(super) fn check_data(data: Option<&str>) -> Result<()> {
    const BYTES_MAX: usize = 16 << 10;
    if data.is_some_and(|data| data.len() > BYTES_MAX) {
        return Err(StorageError::new(ErrorKind::Invalid, format!("data has at most {BYTES_MAX} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ending_keys_can_be_taken_apart() {
        let (app, user) = (AppId::default(), UserId::new("ann").unwrap());
        let id = PostId::from_u64(7).unwrap();
        let by = |actor: Option<&str>| EventKey {
            actor: actor.map(|actor| UserId::new(actor).unwrap()),
            name: "r/1/like".into(),
        };
        for what in [Ending::Group(id), Ending::Event(by(None)), Ending::Event(by(Some("bob")))] {
            let (at, parsed_app, parsed_user, parsed) =
                parse_ending(&ending(UnixMs(9), &app, &user, &what)).unwrap();
            assert_eq!((at, parsed_app, parsed_user, parsed), (UnixMs(9), app.clone(), user.clone(), what));
        }
    }
}
