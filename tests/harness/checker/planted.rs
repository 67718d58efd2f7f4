//! A clean history, and one planted fault for each property: each is caught, and nothing else is.

use super::{HEALED_US, Property, SETTLED_US, check};
use crate::history::{Entry, Outcome, Relation, Seen, What};

const SECOND: u64 = SETTLED_US;

fn entry(began: u64, ended: u64, what: What) -> Entry {
    Entry { began, ended, what }
}

fn at(when: u64, what: What) -> Entry {
    entry(when, when, what)
}

fn post(when: u64, author: &str, id: u64) -> Entry {
    let nonce = format!("{author} {id}");
    let key = Some(format!("key {id}"));
    let what = What::Post { author: author.into(), nonce, key, outcome: Outcome::Ok, id: Some(id) };
    entry(when, when + 10, what)
}

fn relate(when: u64, user: &str, relation: Relation, target: &str, active: bool) -> Entry {
    let (user, target) = (user.into(), target.into());
    entry(when, when + 10, What::Relate { user, relation, target, active, outcome: Outcome::Ok })
}

fn seen(author: &str, id: u64) -> Seen {
    Seen { id, author: author.into(), nonce: format!("{author} {id}") }
}

fn walk(when: u64, posts: &[(&str, u64)], last: bool) -> Entry {
    let posts = posts.iter().map(|(author, id)| seen(author, *id)).collect();
    entry(when, when + 100, What::Walk { user: "reader".into(), posts, outcome: Outcome::Ok, last })
}

fn recv(when: u64, offset: u64, author: &str, id: u64) -> Entry {
    let (session, channel) = ("s".into(), "user:#reader".into());
    at(when, What::Recv { session, channel, offset, created: Some(seen(author, id)) })
}

fn fault(when: u64, active: bool) -> Entry {
    at(when, What::Fault { what: "kill".into(), active })
}

/// `reader` follows `a` and `b`, a session is open, both post, a fault comes and goes, `b` is muted, one post is
/// deleted, the feed is read twice.
fn clean() -> Vec<Entry> {
    vec![
        relate(0, "reader", Relation::Follow, "a", true),
        relate(0, "reader", Relation::Follow, "b", true),
        at(100, What::Open { session: "s".into(), user: "reader".into() }),
        at(100, What::At { session: "s".into(), channel: "user:#reader".into(), offset: 4, gap: false }),
        post(1_000, "a", 11),
        post(2_000, "b", 12),
        post(3_000, "a", 13),
        recv(3_050, 5, "a", 11),
        recv(3_060, 6, "b", 12),
        recv(3_070, 7, "a", 13),
        walk(4_000, &[("a", 13), ("b", 12), ("a", 11)], false),
        fault(5_000, true),
        entry(
            5_100,
            5_500,
            What::Post {
                author: "a".into(),
                nonce: "a 14".into(),
                key: Some("key 14".into()),
                outcome: Outcome::Info,
                id: None,
            },
        ),
        fault(6_000, false),
        post(7_000, "a", 15),
        recv(7_050, 8, "a", 15),
        relate(2 * SECOND, "reader", Relation::Mute, "b", true),
        entry(2 * SECOND, 2 * SECOND + 10, What::Delete { id: 13, outcome: Outcome::Ok }),
        walk(5 * SECOND, &[("a", 15), ("a", 14), ("a", 11)], true),
        at(6 * SECOND, What::Ended { session: "s".into() }),
    ]
}

#[track_caller]
fn caught(property: Property, history: &[Entry]) {
    let mut history = history.to_vec();
    history.sort_by_key(|entry| entry.ended);
    let report = check(&history);
    assert_eq!(report.properties(), [property], "{report:#?}");
}

fn with(more: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    clean().into_iter().chain(more).collect()
}

fn changed(change: impl Fn(&mut What)) -> Vec<Entry> {
    let mut history = clean();
    for entry in &mut history {
        change(&mut entry.what);
    }
    history
}

fn without(unwanted: impl Fn(&What) -> bool) -> Vec<Entry> {
    clean().into_iter().filter(|entry| !unwanted(&entry.what)).collect()
}

#[test]
fn a_clean_history_is_clean() {
    let mut history = clean();
    history.sort_by_key(|entry| entry.ended);
    check(&history).assert_clean();
    let saved: Vec<String> = history.iter().map(|e| serde_json::to_string(e).unwrap()).collect();
    let read: Vec<Entry> = saved.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, history);
}

#[test]
fn lost_posts_are_caught() {
    // Published before the session was there, and in no read.
    let history = with([post(50, "a", 10)]);
    caught(Property::C1Lost, &history);
}

#[test]
fn events_that_never_arrive_are_caught() {
    let history = without(|what| matches!(what, What::Recv { offset: 8, .. }));
    caught(Property::C1LostLive, &history);
}

#[test]
fn inventions_are_caught() {
    let invented = changed(|what| {
        if let What::Walk { posts, last: false, .. } = what {
            posts[0].nonce = "nobody wrote this".into();
        }
    });
    caught(Property::C3Unexpected, &invented);
    let refused = changed(|what| match what {
        What::Post { outcome, .. } if *outcome == Outcome::Info => *outcome = Outcome::Fail,
        _ => {}
    });
    caught(Property::C3Unexpected, &refused);
}

#[test]
fn duplicates_are_caught() {
    let twice_in_a_walk = changed(|what| {
        if let What::Walk { posts, last: false, .. } = what {
            posts.insert(0, posts[0].clone());
        }
    });
    caught(Property::C4Duplicate, &twice_in_a_walk);
    caught(Property::C4Duplicate, &with([recv(7_060, 9, "a", 15)]));
}

#[test]
fn inversions_are_caught() {
    let inverted = changed(|what| {
        if let What::Walk { posts, last: false, .. } = what {
            posts.swap(0, 1);
        }
    });
    caught(Property::C5Order, &inverted);
    caught(Property::C5Order, &with([post(8_000, "z", 22), post(9_000, "z", 21)]));
}

#[test]
fn holes_are_caught() {
    let skipped = changed(|what| match what {
        What::Recv { offset, .. } if *offset == 8 => *offset = 9,
        _ => {}
    });
    caught(Property::C6Hole, &skipped);
    let moved =
        at(7_100, What::At { session: "s".into(), channel: "user:#reader".into(), offset: 12, gap: false });
    caught(Property::C6Hole, &with([moved]));
    let told =
        at(7_100, What::At { session: "s".into(), channel: "user:#reader".into(), offset: 12, gap: true });
    let mut history = with([told]);
    history.sort_by_key(|entry| entry.ended);
    check(&history).assert_clean();
}

#[test]
fn what_must_not_be_seen_is_caught() {
    let muted = changed(|what| {
        if let What::Walk { posts, last: true, .. } = what {
            posts.insert(2, seen("b", 12));
        }
    });
    caught(Property::C7Privacy, &muted);
    let deleted = changed(|what| {
        if let What::Walk { posts, last: true, .. } = what {
            posts.insert(2, seen("a", 13));
        }
    });
    caught(Property::C7Privacy, &deleted);
    let pushed_late = with([post(4 * SECOND, "b", 20), recv(4 * SECOND + 50, 9, "b", 20)]);
    caught(Property::C7Privacy, &pushed_late);
    let stranger = with([post(8_000, "z", 21), recv(8_050, 9, "z", 21)]);
    caught(Property::C7Privacy, &stranger);
    // Half a second after the mute, what was on its way may still arrive.
    let in_time = 2 * SECOND + SECOND / 2;
    let mut history = with([post(in_time, "b", 20), recv(in_time + 50, 9, "b", 20)]);
    history.sort_by_key(|entry| entry.ended);
    check(&history).assert_clean();
}

#[test]
fn keys_that_make_two_posts_are_caught() {
    let mut again = post(8_000, "z", 22);
    if let What::Post { key, .. } = &mut again.what {
        *key = Some("key 21".into());
    }
    caught(Property::C10Idempotency, &with([post(7_500, "z", 21), again]));
}

#[test]
fn posts_that_vanish_are_caught() {
    let history = with([walk(7_500, &[("a", 15), ("a", 13), ("a", 11)], false)]);
    caught(Property::C11MonotonicReads, &history);
}

#[test]
fn a_system_that_stays_down_is_caught() {
    let late =
        entry(6_000 + HEALED_US + 1, 6_000 + HEALED_US + 9, What::Delete { id: 11, outcome: Outcome::Info });
    caught(Property::C14Liveness, &with([late]));
    let stuck = without(|what| {
        matches!(what, What::Walk { last: true, .. } | What::Relate { relation: Relation::Mute, .. })
    });
    let stuck: Vec<Entry> =
        stuck.into_iter().filter(|e| e.began < 7_000 || matches!(e.what, What::Ended { .. })).collect();
    caught(Property::C14Liveness, &stuck);
}
