//! An erased user in what is kept of others' inboxes.

use fama_protocol::{AppId, NotificationId, UnixMs, UserId};

use super::rows::{self, Ending, EventRow};
use super::write::Inbox;
use crate::Result;
use crate::embedded::keys;
use crate::embedded::tables::Space;
use crate::embedded::txn::Txn;
use crate::inbox::{Audience, EventKey};

/// Takes an event out of its group and forgets it. The group that was left.
pub(in crate::embedded) fn forget_event(
    txn: &mut Txn<'_>,
    app: &AppId,
    owner: &UserId,
    actor: &UserId,
    name: &str,
    now: UnixMs,
) -> Result<Option<NotificationId>> {
    let event = EventKey { actor: Some(actor.clone()), name: name.to_owned() };
    let key = rows::event(app, owner, &event);
    let Some(row) = txn.get(Space::Inbox, &key)? else { return Ok(None) };
    let row = EventRow::decode(&row)?;
    let mut inbox = Inbox::open(txn, app, owner, now)?;
    inbox.leave(&event, &row)?;
    inbox.close();
    txn.delete(Space::Inbox, key);
    Ok(row.group.filter(|_| row.active))
}

/// The user is not among the recipients any more. Whether it was.
pub(in crate::embedded) fn leave_dispatch(
    txn: &mut Txn<'_>,
    key: &[u8],
    row: &[u8],
    user: &UserId,
) -> Result<bool> {
    let mut dispatch = rows::decode_dispatch(keys::id_at_end(key)?, row)?;
    let before = dispatch.audience.clone();
    match &mut dispatch.audience {
        Audience::Users(users) => users.retain(|other| other != user),
        audience @ Audience::FollowersOf(_) if *audience == Audience::FollowersOf(user.clone()) => {
            *audience = Audience::Users(Vec::new());
        }
        Audience::FollowersOf(_) => {}
    }
    if dispatch.audience == before {
        return Ok(false);
    }
    txn.put(Space::Inbox, key.to_vec(), rows::encode_dispatch(&dispatch));
    Ok(true)
}

/// Whether what ends is the user's, or about an act of the user.
pub(in crate::embedded) fn ending_names(key: &[u8], app: &AppId, user: &UserId) -> Result<bool> {
    let (_, of, owner, what) = rows::parse_ending(key)?;
    let acted = matches!(&what, Ending::Event(event) if event.actor.as_ref() == Some(user));
    Ok(of == *app && (owner == *user || acted))
}
