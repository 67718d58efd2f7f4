//! Feeds that were walked to their end.

use std::collections::{BTreeMap, BTreeSet};

use super::{Index, Property, Report};
use crate::history::{Outcome, Seen, What};

struct Walk<'a> {
    began: u64,
    ended: u64,
    posts: &'a [Seen],
    ids: BTreeSet<u64>,
    last: bool,
}

pub(super) fn check(index: &Index, report: &mut Report) {
    let mut walks: BTreeMap<&str, Vec<Walk>> = BTreeMap::new();
    let mut opened: BTreeMap<&str, &str> = BTreeMap::new();
    let mut received: BTreeMap<&str, Vec<(u64, &Seen)>> = BTreeMap::new();
    for entry in index.entries {
        match &entry.what {
            What::Walk { user, posts, outcome: Outcome::Ok, last } => {
                let ids = posts.iter().map(|post| post.id).collect();
                let walk = Walk { began: entry.began, ended: entry.ended, posts, ids, last: *last };
                walks.entry(user).or_default().push(walk);
            }
            What::Open { session, user } => drop(opened.insert(session, user)),
            What::Recv { session, created: Some(seen), .. } => {
                if let Some(user) = opened.get(session.as_str()) {
                    received.entry(user).or_default().push((entry.ended, seen));
                }
            }
            _ => {}
        }
    }
    for (user, walks) in &walks {
        for walk in walks {
            well_formed(index, report, user, walk);
            if walk.last {
                complete(index, report, user, walk);
            }
        }
        let live = received.get(user).map_or(&[][..], Vec::as_slice);
        monotonic(index, report, user, walks, live);
    }
}

fn well_formed(index: &Index, report: &mut Report, user: &str, walk: &Walk) {
    if walk.ids.len() < walk.posts.len() {
        report.add(Property::C4Duplicate, || format!("{user} walked over the same post twice"));
    }
    if let Some(pair) = walk.posts.windows(2).find(|pair| pair[0].id < pair[1].id) {
        report.add(Property::C5Order, || format!("{user} saw {} above {}", pair[0].id, pair[1].id));
    }
    for post in walk.posts {
        if !index.expected(post) {
            report.add(Property::C3Unexpected, || format!("{user} saw {post:?}"));
        }
        let gone = index.deleted.get(&post.id).and_then(|(_, acknowledged)| *acknowledged);
        if gone.is_some_and(|gone| gone <= walk.began) {
            report.add(Property::C7Privacy, || format!("{user} saw the deleted {}", post.id));
        }
        if index.relations.surely_hidden(user, &post.author, walk.began, walk.ended) {
            report.add(Property::C7Privacy, || format!("{user} saw {} of {}", post.id, post.author));
        }
    }
}

fn complete(index: &Index, report: &mut Report, user: &str, walk: &Walk) {
    for author in index.relations.ever_followed(user).iter().copied().chain([user]) {
        if !index.relations.surely_seen(user, author, walk.began, walk.ended) {
            continue;
        }
        for (id, post) in index.standing(author) {
            if post.ended <= walk.began && !walk.ids.contains(&id) {
                report.add(Property::C1Lost, || format!("{user} lacks {id} of {author} ({})", post.nonce));
            }
        }
    }
}

/// What a walk or a session showed, every later walk shows.
fn monotonic(index: &Index, report: &mut Report, user: &str, walks: &[Walk], live: &[(u64, &Seen)]) {
    let earlier = walks.iter().flat_map(|walk| walk.posts.iter().map(|post| (walk.ended, post)));
    let mut first: BTreeMap<u64, (u64, &str)> = BTreeMap::new();
    for (at, seen) in earlier.chain(live.iter().copied()) {
        let known = first.entry(seen.id).or_insert((at, &seen.author));
        known.0 = known.0.min(at);
    }
    for walk in walks {
        for (id, (at, author)) in
            first.iter().filter(|(id, (at, _))| *at < walk.began && !walk.ids.contains(id))
        {
            let deleted = index.deleted.get(id).is_some_and(|(began, _)| *began <= walk.ended);
            if !deleted && index.relations.surely_seen(user, author, *at, walk.ended) {
                report.add(Property::C11MonotonicReads, || format!("{user} no longer sees {id} of {author}"));
            }
        }
    }
}
