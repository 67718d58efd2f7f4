//! Judges a history. Each property has the name that `Broken` prints; each is proven by a planted history in
//! `planted.rs` that breaks it and nothing else.

mod reads;
mod relations;
mod sessions;

#[cfg(test)]
mod planted;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Entry, Outcome, What};
use relations::Relations;

/// After this long, an acknowledged unfollow, block, mute or delete holds everywhere.
const SETTLED_US: u64 = 1_000_000;
/// After the last fault, everything works again within this.
const HEALED_US: u64 = 30_000_000;
const EXAMPLES: usize = 5;

/// What a history can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// An acknowledged post is missing from the last read of somebody who follows its author.
    C1Lost,
    /// The same, among what reached a session that never lost continuity.
    C1LostLive,
    /// Something was seen that nobody published.
    C3Unexpected,
    /// The same post twice in one walk, or twice by one channel in one session.
    C4Duplicate,
    /// A walk that is not newest first, or an author's ids against the order of acknowledgement.
    C5Order,
    /// An offset that does not follow the last one, without a word.
    C6Hole,
    /// A post of somebody unfollowed, blocked, muted or never followed, or a deleted post.
    C7Privacy,
    /// One idempotency key, two posts; or two bodies.
    C10Idempotency,
    /// A post that was seen is missing from a later walk.
    C11MonotonicReads,
    /// No progress after the faults ended.
    C14Liveness,
}

/// Broken properties, each with how often and the first examples.
#[derive(Debug, Default)]
pub struct Report {
    broken: BTreeMap<Property, (usize, Vec<String>)>,
}

impl Report {
    fn add(&mut self, property: Property, example: impl FnOnce() -> String) {
        let (count, examples) = self.broken.entry(property).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example());
        }
    }

    /// Which properties are broken.
    pub fn properties(&self) -> Vec<Property> {
        self.broken.keys().copied().collect()
    }

    /// Panics with the examples, if anything is broken.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.broken.is_empty(), "the history is not clean: {:#?}", self.broken);
    }
}

/// A request to publish, as far as it is known.
struct Post<'a> {
    author: &'a str,
    nonce: &'a str,
    id: Option<u64>,
    began: u64,
    ended: u64,
}

/// The history, indexed once for all checks.
struct Index<'a> {
    entries: &'a [Entry],
    relations: Relations<'a>,
    /// Posts that may exist: acknowledged, or nobody knows.
    posts: Vec<Post<'a>>,
    by_nonce: BTreeMap<&'a str, usize>,
    by_author: BTreeMap<&'a str, Vec<usize>>,
    /// When each deletion began and was acknowledged (never, if nobody knows).
    deleted: BTreeMap<u64, (u64, Option<u64>)>,
}

impl<'a> Index<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        let mut index = Self {
            entries,
            relations: Relations::default(),
            posts: Vec::new(),
            by_nonce: BTreeMap::new(),
            by_author: BTreeMap::new(),
            deleted: BTreeMap::new(),
        };
        for entry in entries {
            match &entry.what {
                What::Post { author, nonce, outcome, id, .. } if *outcome != Outcome::Fail => {
                    let number = index.posts.len();
                    let known = index.by_nonce.get(nonce.as_str()).copied();
                    if let Some(known) = known {
                        // A retry of a request whose answer never came.
                        index.posts[known].id = index.posts[known].id.or(*id);
                        index.posts[known].ended = entry.ended;
                        continue;
                    }
                    index.by_nonce.insert(nonce, number);
                    index.by_author.entry(author).or_default().push(number);
                    index.posts.push(Post { author, nonce, id: *id, began: entry.began, ended: entry.ended });
                }
                What::Delete { id, outcome } if *outcome != Outcome::Fail => {
                    let acknowledged = (*outcome == Outcome::Ok).then_some(entry.ended);
                    let known = index.deleted.entry(*id).or_insert((entry.began, acknowledged));
                    known.1 = known.1.or(acknowledged);
                }
                What::Relate { user, relation, target, active, outcome } if *outcome != Outcome::Fail => {
                    index.relations.add(entry, *relation, (user, target), *active, *outcome);
                }
                _ => {}
            }
        }
        index
    }

    /// Acknowledged posts of `author`, never deleted as far as anybody tried.
    fn standing(&self, author: &str) -> impl Iterator<Item = (u64, &Post<'a>)> {
        let numbers = self.by_author.get(author).into_iter().flatten();
        let posts = numbers.map(|number| &self.posts[*number]);
        posts.filter_map(|post| post.id.map(|id| (id, post))).filter(|(id, _)| !self.deleted.contains_key(id))
    }

    /// Whether what was seen is what its author published.
    fn expected(&self, seen: &crate::history::Seen) -> bool {
        self.by_nonce.get(seen.nonce.as_str()).is_some_and(|number| {
            let post = &self.posts[*number];
            post.author == seen.author && post.id.is_none_or(|id| id == seen.id)
        })
    }
}

/// Runs every check.
pub fn check(entries: &[Entry]) -> Report {
    let index = Index::new(entries);
    let mut report = Report::default();
    author_order(&index, &mut report);
    idempotency(&index, &mut report);
    liveness(&index, &mut report);
    reads::check(&index, &mut report);
    sessions::check(&index, &mut report);
    report
}

fn author_order(index: &Index, report: &mut Report) {
    for numbers in index.by_author.values() {
        let mut known: Vec<&Post> =
            numbers.iter().map(|n| &index.posts[*n]).filter(|p| p.id.is_some()).collect();
        known.sort_by_key(|post| post.began);
        // The highest id among the posts acknowledged before this one was sent.
        let mut ended: Vec<&Post> = known.clone();
        ended.sort_by_key(|post| post.ended);
        let (mut highest, mut next) = (None, 0);
        for post in known {
            while next < ended.len() && ended[next].ended < post.began {
                highest = highest.max(ended[next].id);
                next += 1;
            }
            if post.id <= highest {
                report.add(Property::C5Order, || {
                    format!("{} got {:?} after {highest:?}", post.author, post.id)
                });
            }
        }
    }
}

/// The ids and the bodies of one key.
type Uses<'a> = (BTreeSet<u64>, BTreeSet<&'a str>);

fn idempotency(index: &Index, report: &mut Report) {
    let mut keys: BTreeMap<(&str, &str), Uses> = BTreeMap::new();
    for entry in index.entries {
        if let What::Post { author, nonce, key: Some(key), outcome: Outcome::Ok, id: Some(id) } = &entry.what
        {
            let (ids, bodies) = keys.entry((author, key)).or_default();
            ids.insert(*id);
            bodies.insert(nonce);
        }
    }
    for ((author, key), (ids, bodies)) in keys {
        if ids.len() > 1 || bodies.len() > 1 {
            report
                .add(Property::C10Idempotency, || format!("{author} with key {key}: {ids:?} for {bodies:?}"));
        }
    }
}

fn liveness(index: &Index, report: &mut Report) {
    let healed = index.entries.iter().filter_map(|entry| match &entry.what {
        What::Fault { active: false, .. } => Some(entry.ended),
        _ => None,
    });
    let Some(healed) = healed.max() else { return };
    let mut progress = false;
    for entry in index.entries {
        let (What::Post { outcome, .. }
        | What::Delete { outcome, .. }
        | What::Relate { outcome, .. }
        | What::Walk { outcome, .. }) = &entry.what
        else {
            continue;
        };
        progress |= entry.began >= healed && *outcome == Outcome::Ok;
        if entry.began > healed + HEALED_US && *outcome != Outcome::Ok {
            report.add(Property::C14Liveness, || format!("long after the faults: {entry:?}"));
        }
    }
    if !progress {
        report.add(Property::C14Liveness, || "nothing succeeds after the last fault".to_owned());
    }
}
