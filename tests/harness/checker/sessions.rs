//! What reached the sockets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Index, Property, Report, SETTLED_US};
use crate::history::{Seen, What};

struct Session<'a> {
    user: &'a str,
    opened: u64,
    ended: Option<u64>,
    /// When continuity was last lost.
    gap: Option<u64>,
    offsets: BTreeMap<&'a str, u64>,
    created: BTreeMap<&'a str, BTreeSet<u64>>,
}

pub(super) fn check(index: &Index, report: &mut Report) {
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    for entry in index.entries {
        let at = entry.ended;
        match &entry.what {
            What::Open { session, user } => {
                let (offsets, created) = (BTreeMap::new(), BTreeMap::new());
                let state = Session { user, opened: at, ended: None, gap: None, offsets, created };
                sessions.insert(session, state);
            }
            What::At { session, channel, offset, gap } => {
                let Some(state) = sessions.get_mut(session.as_str()) else { continue };
                let before = state.offsets.insert(channel, *offset);
                if *gap {
                    state.gap = Some(at);
                } else if before.is_some_and(|before| before != *offset) {
                    report.add(Property::C6Hole, || {
                        format!("{session} in {channel}: now at {offset}, was at {before:?}")
                    });
                }
            }
            What::Recv { session, channel, offset, created } => {
                let Some(state) = sessions.get_mut(session.as_str()) else { continue };
                let before = state.offsets.insert(channel, *offset);
                if before.is_none_or(|before| before + 1 != *offset) {
                    report.add(Property::C6Hole, || {
                        format!("{session} in {channel}: {offset} after {before:?}")
                    });
                }
                if let Some(seen) = created {
                    received(index, report, state, channel, at, seen);
                }
            }
            What::Ended { session } => {
                if let Some(state) = sessions.get_mut(session.as_str()) {
                    state.ended = Some(at);
                }
            }
            _ => {}
        }
    }
    for (name, session) in &sessions {
        complete(index, report, name, session);
    }
}

fn received<'a>(
    index: &Index,
    report: &mut Report,
    state: &mut Session<'a>,
    channel: &'a str,
    at: u64,
    seen: &Seen,
) {
    let user = state.user;
    if !state.created.entry(channel).or_default().insert(seen.id) {
        report.add(Property::C4Duplicate, || format!("{user} got {} twice by {channel}", seen.id));
    }
    if !index.expected(seen) {
        report.add(Property::C3Unexpected, || format!("{user} got {seen:?}"));
    }
    let settled = at.saturating_sub(SETTLED_US);
    let gone = index.deleted.get(&seen.id).and_then(|(_, acknowledged)| *acknowledged);
    if gone.is_some_and(|gone| gone < settled) {
        report.add(Property::C7Privacy, || format!("{user} got the deleted {}", seen.id));
    }
    if index.relations.surely_hidden(user, &seen.author, settled, at) {
        report.add(Property::C7Privacy, || format!("{user} got {} of {}", seen.id, seen.author));
    }
}

/// A session that was there all the time got everything that was published while it was.
fn complete(index: &Index, report: &mut Report, name: &str, session: &Session) {
    let Some(ended) = session.ended else { return };
    let from = session.gap.unwrap_or(session.opened).max(session.opened);
    let got: BTreeSet<u64> = session.created.values().flatten().copied().collect();
    let user = session.user;
    for author in index.relations.ever_followed(user).iter().copied().chain([user]) {
        if !index.relations.surely_seen(user, author, from, ended) {
            continue;
        }
        for (id, post) in index.standing(author) {
            if post.began > from && post.ended < ended && !got.contains(&id) {
                report.add(Property::C1LostLive, || format!("{name} of {user} did not get {id} of {author}"));
            }
        }
    }
}
