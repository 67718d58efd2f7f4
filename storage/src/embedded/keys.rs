//! Keys. The table in [`super`] shows them all.
//!
//! Texts inside keys end with 0x00, which no id has; so one id's rows never lie among those of a longer one, and the
//! order of keys is the order of ids. Numbers are big-endian.

use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::codec::broken;
use crate::{RequestKey, Result, RowId, StorageError};

/// Ends a text inside a key.
const END: u8 = 0;

/// A key being built.
#[derive(Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Begins a key of one app's table.
    pub fn of(app: &AppId, table: u8) -> Self {
        Self(Vec::with_capacity(48)).text(app.as_str()).byte(table)
    }

    /// Begins a key outside of all apps.
    pub fn global(table: u8) -> Self {
        Self(Vec::with_capacity(48)).byte(table)
    }

    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// A text that is not the key's last part.
    pub fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(END);
        self
    }

    /// The key's last part.
    pub fn last(mut self, text: &str) -> Vec<u8> {
        self.0.extend_from_slice(text.as_bytes());
        self.0
    }

    pub fn id(mut self, id: PostId) -> Self {
        self.0.extend_from_slice(&id.to_be_bytes());
        self
    }

    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

/// The first key behind all that begin with a prefix, which must not be 0xFF all through.
pub(super) fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    while prefix.last() == Some(&0xff) {
        prefix.pop();
    }
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    prefix
}

/// The first key behind one key.
pub(super) fn just_after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

// Table bytes: one letter for each table of a keyspace.
pub(super) mod table {
    pub const POST: u8 = b'p';

    pub const AUTHOR: u8 = b'a';
    pub const AUTHOR_PULL: u8 = b'p';
    pub const REPLY: u8 = b'r';
    pub const AUTHOR_STATS: u8 = b's';

    pub const EDGE: u8 = b'e';
    pub const FOLLOWER: u8 = b'f';
    pub const GRAPH_STATS: u8 = b's';
    pub const EDGE_ENDED: u8 = b'x';
    pub const BLOCK: u8 = b'b';
    pub const BLOCKED_BY: u8 = b'c';
    pub const MUTE: u8 = b'm';
    pub const BLOCK_ENDED: u8 = b'y';
    pub const MUTE_ENDED: u8 = b'z';

    pub const OUTBOX: u8 = b'o';
    pub const SET_ASIDE: u8 = b'q';
    pub const CLAIM: u8 = b'i';

    pub const DUE: u8 = b'd';
    pub const CLAIMED_AT: u8 = b'i';
    pub const ENDING: u8 = b'n';

    pub const INBOX: u8 = b'h';
    pub const GROUP: u8 = b'g';
    pub const LISTED: u8 = b'p';
    pub const UNREAD: u8 = b'u';
    pub const OPEN: u8 = b'o';
    pub const EVENT: u8 = b'e';
    pub const MEMBER: u8 = b'm';
    pub const JOINED: u8 = b't';
    pub const DISPATCH: u8 = b's';

    pub const MODE: u8 = b'm';
    pub const MODE_PUSH: u8 = b'n';
    pub const REACTED: u8 = b'r';
    pub const REACTIONS: u8 = b'k';
    pub const UNREACTED: u8 = b'x';
    pub const PROFILE: u8 = b'u';
    pub const PRESENCE: u8 = b'p';
    pub const ERASURE: u8 = b'e';

    pub const FORMAT: u8 = b'f';
    pub const BACKLOG: u8 = b'b';
    pub const LEASE: u8 = b'l';
    pub const MARK: u8 = b'k';
}

pub(super) fn post(app: &AppId, id: PostId) -> Vec<u8> {
    Key::of(app, table::POST).id(id).done()
}

pub(super) fn author(app: &AppId, author: &UserId, pull_only: bool) -> Key {
    let table = if pull_only { table::AUTHOR_PULL } else { table::AUTHOR };
    Key::of(app, table).text(author.as_str())
}

pub(super) fn reply(app: &AppId, to: PostId) -> Key {
    Key::of(app, table::REPLY).id(to)
}

/// A row about one user.
pub(super) fn user(app: &AppId, table: u8, user: &UserId) -> Vec<u8> {
    Key::of(app, table).last(user.as_str())
}

/// The prefix of rows from one user to others.
pub(super) fn from_user(app: &AppId, table: u8, user: &UserId) -> Key {
    Key::of(app, table).text(user.as_str())
}

/// A row from one user to another.
pub(super) fn pair(app: &AppId, table: u8, from: &UserId, to: &UserId) -> Vec<u8> {
    from_user(app, table, from).last(to.as_str())
}

pub(super) fn outbox(app: &AppId, table: u8, id: &RowId) -> Vec<u8> {
    Key::of(app, table).last(&id.0)
}

pub(super) fn due_from(slot: u16, at: UnixMs) -> Key {
    let [high, low] = slot.to_be_bytes();
    Key::global(table::DUE).byte(high).byte(low).number(at.0)
}

pub(super) fn due(slot: u16, at: UnixMs, app: &AppId, id: &RowId) -> Vec<u8> {
    due_from(slot, at).text(app.as_str()).last(&id.0)
}

/// Time, app and row id of a [`due`] key.
pub(super) fn parse_due(key: &[u8]) -> Result<(UnixMs, AppId, RowId)> {
    let error = || broken("due");
    let (head, rest) = key.split_at_checked(11).ok_or_else(error)?;
    let at = be_number(head.get(3..).unwrap_or_default()).ok_or_else(error)?;
    let (app, id) = split_text(rest).ok_or_else(error)?;
    let app = AppId::new(app).map_err(|_| error())?;
    let id = std::str::from_utf8(id).map_err(|_| error())?;
    Ok((UnixMs(at), app, RowId(id.to_owned())))
}

/// The part of a claim's key behind app and table.
fn request(key: Key, request: &RequestKey) -> Vec<u8> {
    key.text(request.user.as_str()).text(&request.route).last(&request.key)
}

pub(super) fn claim(app: &AppId, key: &RequestKey) -> Vec<u8> {
    request(Key::of(app, table::CLAIM), key)
}

pub(super) fn claimed_from(at: UnixMs) -> Key {
    Key::global(table::CLAIMED_AT).number(at.0)
}

pub(super) fn claimed_at(at: UnixMs, app: &AppId, key: &RequestKey) -> Vec<u8> {
    request(claimed_from(at).text(app.as_str()), key)
}

/// The time of a [`claimed_at`] key, and the key of its claim.
pub(super) fn parse_claimed_at(key: &[u8]) -> Result<(UnixMs, Vec<u8>)> {
    let error = || broken("claim time");
    let (head, rest) = key.split_at_checked(9).ok_or_else(error)?;
    let at = be_number(head.get(1..).unwrap_or_default()).ok_or_else(error)?;
    let (app, request) = split_text(rest).ok_or_else(error)?;
    let app = AppId::new(app).map_err(|_| error())?;
    let mut claim = Key::of(&app, table::CLAIM).done();
    claim.extend_from_slice(request);
    Ok((UnixMs(at), claim))
}

/// The user id that a key has behind a prefix.
pub(super) fn user_behind(key: &[u8], prefix: &[u8]) -> Result<UserId> {
    let text = key.get(prefix.len()..).and_then(|rest| std::str::from_utf8(rest).ok());
    text.and_then(|text| UserId::new(text).ok()).ok_or_else(|| broken("user"))
}

/// The post id that a key ends with.
pub(super) fn id_at_end(key: &[u8]) -> Result<PostId> {
    let bytes = key.last_chunk::<8>().copied();
    bytes.and_then(PostId::from_be_bytes).ok_or_else(|| broken("post id"))
}

/// The app that a key begins with.
pub(super) fn app_of(key: &[u8]) -> Result<AppId> {
    let text = split_text(key).map(|(app, _)| app);
    text.and_then(|app| AppId::new(app).ok()).ok_or_else(|| broken("app"))
}

pub(super) fn split_text(key: &[u8]) -> Option<(&str, &[u8])> {
    let end = key.iter().position(|byte| *byte == END)?;
    let (text, rest) = key.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

pub(super) fn be_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Checks that a text may stand inside a key.
pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > 255 || text.bytes().any(|byte| byte == END) {
        return Err(StorageError::new(
            crate::ErrorKind::Invalid,
            format!("{what} must have 1 to 255 bytes, none of them 0"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_behind_a_prefix_is_behind_all_that_begin_with_it() {
        assert_eq!(behind(vec![1, 2]), vec![1, 3]);
        assert_eq!(behind(vec![1, 0xff, 0xff]), vec![2]);
    }

    #[test]
    fn rows_of_one_user_are_apart_from_those_of_a_longer_id() {
        let (app, short, long) = (AppId::default(), UserId::new("a").unwrap(), UserId::new("a-b").unwrap());
        let row = pair(&app, table::EDGE, &long, &short);
        let prefix = from_user(&app, table::EDGE, &short).done();
        assert!(row >= behind(prefix));
    }

    #[test]
    fn time_keys_can_be_taken_apart() {
        let app = AppId::new("shop").unwrap();
        let id = RowId("p/17".to_owned());
        let key = due(300, UnixMs(5), &app, &id);
        assert_eq!(parse_due(&key).unwrap(), (UnixMs(5), app.clone(), id));

        let request = RequestKey {
            user: UserId::new("u").unwrap(),
            route: "POST /v1/posts".to_owned(),
            key: "k".to_owned(),
        };
        let (at, key) = parse_claimed_at(&claimed_at(UnixMs(7), &app, &request)).unwrap();
        assert_eq!((at, key), (UnixMs(7), claim(&app, &request)));
    }
}
