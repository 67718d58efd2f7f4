//! Reactions.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::EmbeddedStore;
use super::keys::{self, Key, behind, table};
use super::rows::{
    check_count, check_limit, decode_named, decode_numbers, encode_named, encode_numbers, invalid,
};
use super::tables::Space;
use super::txn::Txn;
use crate::{OutboxRow, Reaction, ReactionStore, ReactionSummary, Result, Task};

/// A post has at most so many kinds.
const KINDS_MAX: usize = 32;

pub(super) fn of_user(app: &AppId, post: PostId, user: &UserId) -> Vec<u8> {
    Key::of(app, table::REACTED).id(post).last(user.as_str())
}

/// The user's last change to the post, once something was undone.
fn undone(app: &AppId, post: PostId, user: &UserId) -> Vec<u8> {
    Key::of(app, table::UNREACTED).id(post).last(user.as_str())
}

fn of_post(app: &AppId, post: PostId) -> Vec<u8> {
    Key::of(app, table::REACTIONS).id(post).done()
}

fn named(txn: &Txn<'_>, key: &[u8]) -> Result<Vec<(String, u64)>> {
    txn.get(Space::Misc, key)?.map_or(Ok(Vec::new()), |row| decode_named(&row))
}

/// Writes a list of kinds, or nothing where it is empty.
fn put_named(txn: &mut Txn<'_>, key: Vec<u8>, named: &[(String, u64)]) {
    if named.is_empty() {
        txn.delete(Space::Misc, key);
    } else {
        txn.put(Space::Misc, key, encode_named(named));
    }
}

fn find(named: &[(String, u64)], kind: &str) -> std::result::Result<usize, usize> {
    named.binary_search_by(|(name, _)| name.as_str().cmp(kind))
}

/// Adds or takes back a reaction. See [`ReactionStore::react`].
pub(super) fn react(
    txn: &mut Txn<'_>,
    app: &AppId,
    post: PostId,
    user: &UserId,
    kind: &str,
    active: bool,
    now: UnixMs,
) -> Result<Option<OutboxRow>> {
    let (own_key, counts_key, undone_key) =
        (of_user(app, post, user), of_post(app, post), undone(app, post, user));
    let mut own = named(txn, &own_key)?;
    let mut counts = named(txn, &counts_key)?;
    let [last] = match txn.get(Space::Misc, &undone_key)? {
        Some(row) => decode_numbers("reaction undone", &row)?,
        None => [0],
    };
    let last = own.iter().map(|(_, at)| *at).fold(last, u64::max);
    let version = now.0.max(last + 1);
    match (find(&own, kind), active) {
        (Ok(_), true) | (Err(_), false) => return Ok(None),
        (Err(place), true) => own.insert(place, (kind.to_owned(), version)),
        (Ok(place), false) => {
            own.remove(place);
            txn.put(Space::Misc, undone_key, encode_numbers([version]));
        }
    }
    match (find(&counts, kind), active) {
        (Ok(place), true) => counts[place].1 += 1,
        (Ok(place), false) if counts[place].1 > 1 => counts[place].1 -= 1,
        (Ok(place), false) => drop(counts.remove(place)),
        (Err(_), true) if counts.len() >= KINDS_MAX => {
            return Err(invalid(format!("a post has at most {KINDS_MAX} kinds of reactions")));
        }
        (Err(place), true) => counts.insert(place, (kind.to_owned(), 1)),
        (Err(_), false) => {}
    }
    put_named(txn, own_key, &own);
    put_named(txn, counts_key, &counts);
    let task = Task::Reacted { post, user: user.clone(), kind: kind.to_owned(), active, version };
    Ok(Some(txn.owe(app, task, now)))
}

fn check_kind(kind: &str) -> Result<()> {
    let fits = (1..=32).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if fits { Ok(()) } else { Err(invalid("a kind of reaction has 1 to 32 characters of a-z 0-9 _ -")) }
}

#[async_trait]
impl ReactionStore for EmbeddedStore {
    async fn react(
        &self,
        app: &AppId,
        post: PostId,
        user: &UserId,
        kind: &str,
        active: bool,
        now: UnixMs,
    ) -> Result<Option<OutboxRow>> {
        check_kind(kind)?;
        let (app, user, kind) = (app.clone(), user.clone(), kind.to_owned());
        self.write(0, move |txn| react(txn, &app, post, &user, &kind, active, now)).await
    }

    async fn summaries(
        &self,
        app: &AppId,
        posts: &[PostId],
        viewer: Option<&UserId>,
    ) -> Result<Vec<ReactionSummary>> {
        check_count(posts.len(), 1_000)?;
        self.read(|tables| {
            let view = tables.view();
            let summary = |post: &PostId| {
                let Some(row) = view.get(Space::Misc, &of_post(app, *post))? else {
                    return Ok(ReactionSummary::default());
                };
                let own = match viewer {
                    Some(viewer) => view.get(Space::Misc, &of_user(app, *post, viewer))?,
                    None => None,
                };
                let own = own.map_or(Ok(Vec::new()), |row| decode_named(&row))?;
                let own = own.into_iter().map(|(kind, _)| kind).collect();
                Ok(ReactionSummary { counts: decode_named(&row)?, own })
            };
            posts.iter().map(summary).collect()
        })
    }

    async fn reactions(
        &self,
        app: &AppId,
        post: PostId,
        after: Option<(&UserId, &str)>,
        limit: usize,
    ) -> Result<Vec<Reaction>> {
        check_limit(limit, 1_000)?;
        self.read(|tables| {
            let prefix = Key::of(app, table::REACTED).id(post).done();
            let from = after.map_or(prefix.clone(), |(user, _)| of_user(app, post, user));
            let mut found = Vec::new();
            for row in tables.view().range(Space::Misc, from, behind(prefix.clone())) {
                let (key, value) = row?;
                let user = keys::user_behind(&key, &prefix)?;
                for (kind, at) in decode_named(&value)? {
                    if after.is_some_and(|after| (&user, kind.as_str()) <= after) {
                        continue;
                    }
                    found.push(Reaction { user: user.clone(), kind, created_at: UnixMs(at) });
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
            Ok(found)
        })
    }
}
