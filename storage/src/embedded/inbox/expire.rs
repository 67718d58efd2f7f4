//! What ends in inboxes: removed by its place in time.

use fama_protocol::{NotificationId, UnixMs};

use super::rows::{self, Ending, EventRow, decode_joined, parse_ending};
use super::write::Inbox;
use crate::ExpiredNotifications;
use crate::Result;
use crate::embedded::keys::behind;
use crate::embedded::tables::Space;
use crate::embedded::txn::Txn;

/// Events of one group removed in one write.
const EVENTS: usize = 1_000;

/// Removes what ended, by its places in time.
pub(super) fn expire(txn: &mut Txn<'_>, places: &[Vec<u8>], now: UnixMs) -> Result<ExpiredNotifications> {
    let mut expired = ExpiredNotifications::default();
    for place in places {
        if txn.get(Space::Time, place)?.is_none() {
            continue;
        }
        let (_, app, user, what) = parse_ending(place)?;
        let mut inbox = Inbox::open(txn, &app, &user, now)?;
        let (mut done, mut listed) = (true, false);
        match &what {
            Ending::Group(id) => (done, listed) = end_group(&mut inbox, *id)?,
            Ending::Event(event) => {
                let key = rows::event(&app, &user, event);
                let row = inbox.txn.get(Space::Inbox, &key)?.map(|row| EventRow::decode(&row)).transpose()?;
                if row.is_some_and(|row| row.until.is_some_and(|until| until <= now)) {
                    inbox.txn.delete(Space::Inbox, key);
                }
            }
        }
        inbox.close();
        if done {
            txn.delete(Space::Time, place.clone());
        }
        expired.more |= !done;
        if listed {
            expired.users.push((app, user));
        }
    }
    expired.users.sort_unstable();
    expired.users.dedup();
    Ok(expired)
}

/// Whether the place in time may go, and whether the list changed.
fn end_group(inbox: &mut Inbox<'_, '_>, id: NotificationId) -> Result<(bool, bool)> {
    let Some(mut group) = inbox.group(id)? else { return Ok((true, false)) };
    if group.until > inbox.now {
        inbox.put_ending(group.until, &Ending::Group(id));
        return Ok((true, false));
    }
    let (app, user) = (inbox.app, inbox.user);
    let listed = group.listed;
    inbox.unlist(&mut group);
    inbox.close_open(id, &group)?;
    let prefix = rows::joined_of(app, user, id).done();
    let joined = inbox.txn.range(Space::Inbox, prefix.clone(), behind(prefix), EVENTS)?;
    for (key, row) in &joined {
        let event = decode_joined(row)?;
        inbox.txn.delete(Space::Inbox, key.to_vec());
        if let Some(actor) = &event.actor {
            inbox.txn.delete(Space::Inbox, rows::member(app, user, id, actor));
        }
        let key = rows::event(app, user, &event);
        let row = inbox.txn.get(Space::Inbox, &key)?.map(|row| EventRow::decode(&row)).transpose()?;
        if row.is_some_and(|row| row.group == Some(id) && row.until.is_none()) {
            inbox.txn.delete(Space::Inbox, key);
        }
    }
    let done = joined.len() < EVENTS;
    let row = rows::group(app, user, id);
    if done {
        inbox.txn.delete(Space::Inbox, row);
    } else {
        inbox.txn.put(Space::Inbox, row, group.encode());
    }
    Ok((done, listed))
}
