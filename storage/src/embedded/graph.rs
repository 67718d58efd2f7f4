//! Edges of the follow graph.

use std::collections::HashSet;

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use super::EmbeddedStore;
use super::keys::{self, behind, just_after, table};
use super::posts::AuthorStats;
use super::relations;
use super::rows::{
    check_count, check_limit, decode_edge, decode_numbers, encode_edge, encode_numbers, invalid,
};
use super::tables::{Space, Tables};
use super::txn::Txn;
use crate::{
    Counts, Edge, FollowOutcome, Follower, GraphStore, KEPT_MAX, OutboxRow, Relation, RelationRow, Relations,
    Result, Task,
};

/// Numbers about a user in the graph.
#[derive(Default)]
pub(super) struct GraphStats {
    pub followers: u64,
    pub following: u64,
    pub kept: u64,
    pub blocks: u64,
    pub mutes: u64,
    pub blockers: u64,
}

impl GraphStats {
    pub fn decode(row: Option<&[u8]>) -> Result<Self> {
        let numbers = row.map_or(Ok([0; 6]), |row| decode_numbers("graph", row))?;
        let [followers, following, kept, blocks, mutes, blockers] = numbers;
        Ok(Self { followers, following, kept, blocks, mutes, blockers })
    }

    fn encode(&self) -> Vec<u8> {
        encode_numbers([self.followers, self.following, self.kept, self.blocks, self.mutes, self.blockers])
    }
}

/// Reads a user's numbers.
pub(super) fn stats(txn: &Txn<'_>, app: &AppId, user: &UserId) -> Result<GraphStats> {
    let row = txn.get(Space::Graph, &keys::user(app, table::GRAPH_STATS, user))?;
    GraphStats::decode(row.as_deref())
}

/// Changes a user's numbers.
pub(super) fn count(
    txn: &mut Txn<'_>,
    app: &AppId,
    user: &UserId,
    change: impl FnOnce(&mut GraphStats),
) -> Result<()> {
    let mut numbers = stats(txn, app, user)?;
    change(&mut numbers);
    txn.put(Space::Graph, keys::user(app, table::GRAPH_STATS, user), numbers.encode());
    Ok(())
}

fn edge(txn: &Txn<'_>, app: &AppId, follower: &UserId, author: &UserId) -> Result<Option<Edge>> {
    let row = txn.get(Space::Graph, &keys::pair(app, table::EDGE, follower, author))?;
    row.map(|row| decode_edge(author.clone(), &row)).transpose()
}

/// The version of an edge, there or ended; 0 if there never was one.
fn last_version(
    txn: &Txn<'_>,
    app: &AppId,
    follower: &UserId,
    author: &UserId,
    edge: Option<&Edge>,
) -> Result<u64> {
    if let Some(edge) = edge {
        return Ok(edge.version);
    }
    relations::version_row(txn.get(Space::Graph, &keys::pair(app, table::EDGE_ENDED, follower, author))?)
}

/// The next version of something changed now.
pub(super) fn next_version(last: u64, now: UnixMs) -> u64 {
    now.0.max(last + 1)
}

/// Whether a new edge owes its posts to the follower's feed.
#[derive(Debug, Clone, Copy)]
enum Backfill {
    Owed,
    Needless,
}

fn follow(
    txn: &mut Txn<'_>,
    app: &AppId,
    follower: &UserId,
    authors: &[UserId],
    cap: u64,
    backfill: Backfill,
    now: UnixMs,
) -> Result<FollowOutcome> {
    let mut fresh = Vec::new();
    let mut seen = HashSet::new();
    for author in authors {
        if !seen.insert(author) {
            continue;
        }
        if relations::blocks_either_way(txn, app, follower, author)? {
            return Ok(FollowOutcome::Blocked(author.clone()));
        }
        let edge = edge(txn, app, follower, author)?;
        if edge.as_ref().is_none_or(|edge| edge.until.is_some()) {
            fresh.push((author, edge));
        }
    }
    let following = stats(txn, app, follower)?.following;
    if !fresh.is_empty() && following + fresh.len() as u64 > cap {
        return Ok(FollowOutcome::OverCap { following });
    }
    let mut kept = 0;
    let mut owed = Vec::with_capacity(fresh.len());
    for (author, old) in &fresh {
        let version = next_version(last_version(txn, app, follower, author, old.as_ref())?, now);
        let filled = match backfill {
            Backfill::Owed => old.as_ref().map_or(0, |edge| edge.filled),
            Backfill::Needless => version,
        };
        kept += u64::from(old.is_some());
        let edge = Edge { author: (*author).clone(), since: now, version, filled, until: None };
        txn.put(Space::Graph, keys::pair(app, table::EDGE, follower, author), encode_edge(&edge));
        txn.put(Space::Graph, keys::pair(app, table::FOLLOWER, author, follower), encode_numbers([now.0]));
        count(txn, app, author, |author| author.followers += 1)?;
        if let Backfill::Owed = backfill {
            let task = Task::Backfill { follower: follower.clone(), author: edge.author, version };
            owed.push(txn.owe(app, task, now));
        }
    }
    if !fresh.is_empty() {
        let new = fresh.len() as u64;
        count(txn, app, follower, |follower| {
            follower.following += new;
            follower.kept = follower.kept.saturating_sub(kept);
        })?;
    }
    Ok(FollowOutcome::Followed(owed))
}

/// Ends an edge. `None` if there is nothing to end.
pub(super) fn unfollow(
    txn: &mut Txn<'_>,
    app: &AppId,
    follower: &UserId,
    author: &UserId,
    keep_history: bool,
    now: UnixMs,
) -> Result<Option<OutboxRow>> {
    let Some(mut edge) = edge(txn, app, follower, author)? else { return Ok(None) };
    let followed = edge.until.is_none();
    if !followed && keep_history {
        return Ok(None);
    }
    let keep = keep_history && stats(txn, app, follower)?.kept < KEPT_MAX;
    let version = next_version(edge.version, now);
    let edge_key = keys::pair(app, table::EDGE, follower, author);
    if keep {
        edge.version = version;
        edge.until = Some(now);
        txn.put(Space::Graph, edge_key, encode_edge(&edge));
    } else {
        txn.delete(Space::Graph, edge_key);
        let ended = keys::pair(app, table::EDGE_ENDED, follower, author);
        txn.put(Space::Graph, ended, encode_numbers([version]));
    }
    if followed {
        txn.delete(Space::Graph, keys::pair(app, table::FOLLOWER, author, follower));
        count(txn, app, author, |author| author.followers = author.followers.saturating_sub(1))?;
    }
    count(txn, app, follower, |follower| {
        follower.following = follower.following.saturating_sub(u64::from(followed));
        follower.kept = (follower.kept + u64::from(keep)).saturating_sub(u64::from(!followed));
    })?;
    let task = Task::Cleanup { follower: follower.clone(), author: author.clone(), version };
    Ok(Some(txn.owe(app, task, now)))
}

fn set_filled(
    txn: &mut Txn<'_>,
    app: &AppId,
    follower: &UserId,
    author: &UserId,
    version: u64,
) -> Result<()> {
    let Some(mut edge) = edge(txn, app, follower, author)? else { return Ok(()) };
    if edge.filled < version {
        edge.filled = version;
        txn.put(Space::Graph, keys::pair(app, table::EDGE, follower, author), encode_edge(&edge));
    }
    Ok(())
}

/// Rows of a user's list with ids above `after`.
pub(super) fn list<T>(
    tables: &Tables,
    prefix: keys::Key,
    after: Option<&UserId>,
    limit: usize,
    row: impl Fn(UserId, &[u8]) -> Result<Option<T>>,
) -> Result<Vec<T>> {
    let bare = prefix.clone().done();
    let from = after.map_or(bare.clone(), |after| just_after(prefix.last(after.as_str())));
    let mut found = Vec::new();
    for pair in tables.view().range(Space::Graph, from, behind(bare.clone())) {
        let (key, value) = pair?;
        found.extend(row(keys::user_behind(&key, &bare)?, &value)?);
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

fn followee(user: UserId, row: &[u8]) -> Result<Option<Follower>> {
    let edge = decode_edge(user, row)?;
    Ok(edge.until.is_none().then_some(Follower { user: edge.author, since: edge.since }))
}

impl EmbeddedStore {
    async fn follow_by(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        backfill: Backfill,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        check_count(authors.len(), 1_000)?;
        if authors.contains(follower) {
            return Err(invalid("nobody can follow themselves"));
        }
        let (app, follower, authors) = (app.clone(), follower.clone(), authors.to_vec());
        let bytes = authors.len() * 512;
        self.write(bytes, move |txn| follow(txn, &app, &follower, &authors, cap, backfill, now)).await
    }
}

#[async_trait]
impl GraphStore for EmbeddedStore {
    async fn follow(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        self.follow_by(app, follower, authors, cap, Backfill::Owed, now).await
    }

    async fn import_follows(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        self.follow_by(app, follower, authors, cap, Backfill::Needless, now).await
    }

    async fn unfollow(
        &self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        keep_history: bool,
        now: UnixMs,
    ) -> Result<Option<OutboxRow>> {
        let (app, follower, author) = (app.clone(), follower.clone(), author.clone());
        self.write(0, move |txn| unfollow(txn, &app, &follower, &author, keep_history, now)).await
    }

    async fn edges(&self, app: &AppId, follower: &UserId) -> Result<Vec<Edge>> {
        let prefix = keys::from_user(app, table::EDGE, follower);
        self.read(|tables| {
            list(tables, prefix, None, usize::MAX, |author, row| decode_edge(author, row).map(Some))
        })
    }

    async fn edges_to(
        &self,
        app: &AppId,
        followers: &[UserId],
        author: &UserId,
    ) -> Result<Vec<Option<Edge>>> {
        check_count(followers.len(), 10_000)?;
        self.read(|tables| {
            let view = tables.view();
            let get = |follower: &UserId| {
                let row = view.get(Space::Graph, &keys::pair(app, table::EDGE, follower, author))?;
                row.map(|row| decode_edge(author.clone(), &row)).transpose()
            };
            followers.iter().map(get).collect()
        })
    }

    async fn edge_state(&self, app: &AppId, follower: &UserId, author: &UserId) -> Result<(bool, u64)> {
        self.read(|tables| {
            let view = tables.view();
            if let Some(row) = view.get(Space::Graph, &keys::pair(app, table::EDGE, follower, author))? {
                let edge = decode_edge(author.clone(), &row)?;
                return Ok((edge.until.is_none(), edge.version));
            }
            let ended = view.get(Space::Graph, &keys::pair(app, table::EDGE_ENDED, follower, author))?;
            Ok((false, relations::version_row(ended)?))
        })
    }

    async fn set_filled(&self, app: &AppId, follower: &UserId, author: &UserId, version: u64) -> Result<()> {
        let (app, follower, author) = (app.clone(), follower.clone(), author.clone());
        self.write(0, move |txn| set_filled(txn, &app, &follower, &author, version)).await
    }

    async fn followers(
        &self,
        app: &AppId,
        author: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>> {
        check_limit(limit, 10_000)?;
        let prefix = keys::from_user(app, table::FOLLOWER, author);
        self.read(|tables| {
            list(tables, prefix, after, limit, |user, row| {
                let [since] = decode_numbers("follower", row)?;
                Ok(Some(Follower { user, since: UnixMs(since) }))
            })
        })
    }

    async fn following(
        &self,
        app: &AppId,
        follower: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>> {
        check_limit(limit, 10_000)?;
        let prefix = keys::from_user(app, table::EDGE, follower);
        self.read(|tables| list(tables, prefix, after, limit, followee))
    }

    async fn counts(&self, app: &AppId, user: &UserId) -> Result<Counts> {
        self.read(|tables| {
            let view = tables.view();
            let graph = view.get(Space::Graph, &keys::user(app, table::GRAPH_STATS, user))?;
            let graph = GraphStats::decode(graph.as_deref())?;
            let author = view.get(Space::Index, &keys::user(app, table::AUTHOR_STATS, user))?;
            let author = AuthorStats::decode(author.as_deref())?;
            Ok(Counts { followers: graph.followers, following: graph.following, posts: author.posts })
        })
    }

    async fn relate(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        target: &UserId,
        active: bool,
        cap: u64,
        now: UnixMs,
    ) -> Result<Option<Vec<OutboxRow>>> {
        if user == target {
            return Err(invalid("nobody can block or mute themselves"));
        }
        let change = relations::Change {
            app: app.clone(),
            user: user.clone(),
            relation,
            target: target.clone(),
            active,
            cap,
            now,
        };
        self.write(0, move |txn| change.apply(txn)).await
    }

    async fn relations(&self, app: &AppId, user: &UserId) -> Result<Relations> {
        self.read(|tables| relations::all(tables, app, user))
    }

    async fn blocked_by(&self, app: &AppId, user: &UserId, others: &[UserId]) -> Result<Vec<bool>> {
        check_count(others.len(), 1_000)?;
        self.read(|tables| {
            let view = tables.view();
            let blocks = |other: &UserId| {
                let row = view.get(Space::Graph, &keys::pair(app, table::BLOCK, other, user))?;
                Ok(row.is_some())
            };
            others.iter().map(blocks).collect()
        })
    }

    async fn related(
        &self,
        app: &AppId,
        user: &UserId,
        relation: Relation,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<RelationRow>> {
        check_limit(limit, 10_000)?;
        let prefix = keys::from_user(app, relations::active_table(relation), user);
        self.read(|tables| {
            list(tables, prefix, after, limit, |user, row| {
                let [since, _version] = decode_numbers("relation", row)?;
                Ok(Some(RelationRow { user, since: UnixMs(since) }))
            })
        })
    }
}
