//! Who surely followed, or surely did not see, whom and when: requests overlap, and some were never answered.

use std::collections::BTreeMap;

use crate::history::{Entry, Outcome, Relation};

struct Change {
    began: u64,
    /// `None`: nobody knows whether it happened.
    ended: Option<u64>,
    active: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Follow,
    Block,
    Mute,
}

/// Changes of each relation of each pair.
#[derive(Default)]
pub(super) struct Relations<'a> {
    changes: BTreeMap<(Kind, &'a str, &'a str), Vec<Change>>,
    followed: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Relations<'a> {
    pub(super) fn add(
        &mut self,
        entry: &Entry,
        relation: Relation,
        (user, target): (&'a str, &'a str),
        active: bool,
        outcome: Outcome,
    ) {
        let ended = (outcome == Outcome::Ok).then_some(entry.ended);
        let mut add = |key, active| {
            self.changes.entry(key).or_default().push(Change { began: entry.began, ended, active });
        };
        match relation {
            Relation::Follow => add((Kind::Follow, user, target), active),
            Relation::Mute => add((Kind::Mute, user, target), active),
            Relation::Block => {
                add((Kind::Block, user, target), active);
                if active {
                    add((Kind::Follow, user, target), false);
                    add((Kind::Follow, target, user), false);
                }
            }
        }
        if relation == Relation::Follow {
            let authors = self.followed.entry(user).or_default();
            if !authors.contains(&target) {
                authors.push(target);
            }
        }
    }

    /// Everybody whom `user` ever tried to follow.
    pub(super) fn ever_followed(&self, user: &str) -> &[&'a str] {
        self.followed.get(user).map_or(&[], Vec::as_slice)
    }

    /// The state that surely held from `from` to `to`, if one did.
    fn surely(&self, key: (Kind, &str, &str), from: u64, to: u64) -> Option<bool> {
        let Some(changes) = self.changes.get(&key) else { return Some(false) };
        let settled = changes.iter().filter(|c| c.ended.is_some_and(|ended| ended <= from));
        let last = settled.max_by_key(|c| c.ended);
        let since = last.map_or(0, |last| last.began);
        let doubtful = changes.iter().any(|change| {
            let other = last.is_none_or(|last| !std::ptr::eq(last, change));
            other && change.began <= to && change.ended.is_none_or(|ended| ended > since) && {
                // The same again changes nothing.
                last.map_or(change.active, |last| change.active != last.active)
            }
        });
        if doubtful { None } else { Some(last.is_some_and(|last| last.active)) }
    }

    /// `user` surely saw `author` all the time from `from` to `to`.
    pub(super) fn surely_seen(&self, user: &str, author: &str, from: u64, to: u64) -> bool {
        let shown = |key| self.surely(key, from, to) == Some(false);
        let follows = || self.surely((Kind::Follow, user, author), from, to) == Some(true);
        user == author
            || (follows()
                && shown((Kind::Block, user, author))
                && shown((Kind::Block, author, user))
                && shown((Kind::Mute, user, author)))
    }

    /// `user` surely must not see `author` at any time from `from` to `to`.
    pub(super) fn surely_hidden(&self, user: &str, author: &str, from: u64, to: u64) -> bool {
        let hidden = |key| self.surely(key, from, to) == Some(true);
        user != author
            && (self.surely((Kind::Follow, user, author), from, to) == Some(false)
                || hidden((Kind::Block, user, author))
                || hidden((Kind::Block, author, user))
                || hidden((Kind::Mute, user, author)))
    }
}
