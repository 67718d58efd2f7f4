//! Edges, blocks and mutes.

use std::collections::BTreeSet;
use std::ops::Bound;

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use super::{App, MemoryStore, Related, check_count, check_limit, invalid, is_mute, next_version};
use crate::{
    BLOCKED_BY_MAX, Counts, Edge, FollowOutcome, Follower, GraphStore, KEPT_MAX, OutboxRow, Relation,
    RelationRow, Relations, Result, Task,
};

type Pair = (UserId, UserId);

fn pair(one: &UserId, other: &UserId) -> Pair {
    (one.clone(), other.clone())
}

/// Rows of a map by pairs whose first is `first` and whose second is above `after`.
fn of<'a, V>(
    map: &'a std::collections::BTreeMap<Pair, V>,
    first: &'a UserId,
    after: Option<&UserId>,
) -> impl Iterator<Item = (&'a UserId, &'a V)> {
    let from = match (after, UserId::new("-")) {
        (Some(after), _) => Bound::Excluded(pair(first, after)),
        // Below every id there is, or the one character that sorts first.
        (None, Ok(least)) => Bound::Included((first.clone(), least)),
        (None, Err(_)) => Bound::Unbounded,
    };
    let rows = map.range((from, Bound::Unbounded)).skip_while(move |(key, _)| key.0 < *first);
    rows.take_while(move |(key, _)| key.0 == *first).map(|(key, value)| (&key.1, value))
}

impl App {
    fn active(&self, relation: Relation, user: &UserId, target: &UserId) -> bool {
        let key = (is_mute(relation), user.clone(), target.clone());
        self.relations.get(&key).is_some_and(|related| related.since.is_some())
    }

    fn related_to<'a>(
        &'a self,
        relation: Relation,
        user: &'a UserId,
    ) -> impl Iterator<Item = (&'a UserId, UnixMs)> {
        let mute = is_mute(relation);
        let rows = self.relations.iter().filter(move |(key, _)| key.0 == mute && key.1 == *user);
        rows.filter_map(|(key, related)| Some((&key.2, related.since?)))
    }

    fn following(&self, user: &UserId) -> u64 {
        of(&self.edges, user, None).filter(|(_, edge)| edge.until.is_none()).count() as u64
    }

    fn kept(&self, user: &UserId) -> u64 {
        of(&self.edges, user, None).filter(|(_, edge)| edge.until.is_some()).count() as u64
    }

    fn follow(
        &mut self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        owes: bool,
        now: UnixMs,
    ) -> FollowOutcome {
        let (mut fresh, mut seen) = (Vec::new(), BTreeSet::new());
        for author in authors.iter().filter(|author| seen.insert(*author)) {
            let blocks = |one, other| self.active(Relation::Block, one, other);
            if blocks(follower, author) || blocks(author, follower) {
                return FollowOutcome::Blocked(author.clone());
            }
            let edge = self.edges.get(&pair(follower, author));
            if edge.is_none_or(|edge| edge.until.is_some()) {
                fresh.push(author);
            }
        }
        let following = self.following(follower);
        if !fresh.is_empty() && following + fresh.len() as u64 > cap {
            return FollowOutcome::OverCap { following };
        }
        let mut owed = Vec::new();
        for author in fresh {
            let key = pair(follower, author);
            let old = self.edges.get(&key);
            let last = old.map(|edge| edge.version).or(self.ended.get(&key).copied()).unwrap_or(0);
            let version = next_version(last, now);
            let filled = if owes { old.map_or(0, |edge| edge.filled) } else { version };
            let edge = Edge { author: author.clone(), since: now, version, filled, until: None };
            self.edges.insert(key, edge);
            self.followers.insert(pair(author, follower), now);
            if owes {
                let task = Task::Backfill { follower: follower.clone(), author: author.clone(), version };
                owed.push(self.owe(app, task, now));
            }
        }
        FollowOutcome::Followed(owed)
    }

    fn unfollow(
        &mut self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        keep_history: bool,
        now: UnixMs,
    ) -> Option<OutboxRow> {
        let key = pair(follower, author);
        let keep = keep_history && self.kept(follower) < KEPT_MAX;
        let edge = self.edges.get_mut(&key)?;
        let followed = edge.until.is_none();
        if !followed && keep_history {
            return None;
        }
        let version = next_version(edge.version, now);
        if keep {
            (edge.version, edge.until) = (version, Some(now));
        } else {
            self.edges.remove(&key);
            self.ended.insert(key, version);
        }
        self.followers.remove(&pair(author, follower));
        let task = Task::Cleanup { follower: follower.clone(), author: author.clone(), version };
        Some(self.owe(app, task, now))
    }

    fn relate(
        &mut self,
        app: &AppId,
        (user, relation, target): (&UserId, Relation, &UserId),
        active: bool,
        cap: u64,
        now: UnixMs,
    ) -> Option<Vec<OutboxRow>> {
        if self.active(relation, user, target) == active {
            return Some(Vec::new());
        }
        if active && self.related_to(relation, user).count() as u64 >= cap {
            return None;
        }
        let key = (is_mute(relation), user.clone(), target.clone());
        let version = next_version(self.relations.get(&key).map_or(0, |related| related.version), now);
        self.relations.insert(key, Related { since: active.then_some(now), version });
        let (user, target) = (user.clone(), target.clone());
        let task =
            Task::RelationChanged { user: user.clone(), relation, target: target.clone(), active, version };
        let mut owed = vec![self.owe(app, task, now)];
        if relation == Relation::Block {
            if active {
                self.blockers.insert(pair(&target, &user));
                for (follower, author) in [(&user, &target), (&target, &user)] {
                    if self.followers.contains_key(&pair(author, follower)) {
                        owed.extend(self.unfollow(app, follower, author, false, now));
                    }
                }
            } else {
                self.blockers.remove(&pair(&target, &user));
            }
        }
        Some(owed)
    }
}

#[async_trait]
impl GraphStore for MemoryStore {
    async fn follow(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        check_count(authors.len(), 1_000)?;
        if authors.contains(follower) {
            return Err(invalid("nobody can follow themselves"));
        }
        self.app(app, |rows| Ok(rows.follow(app, follower, authors, cap, true, now)))
    }

    async fn import_follows(
        &self,
        app: &AppId,
        follower: &UserId,
        authors: &[UserId],
        cap: u64,
        now: UnixMs,
    ) -> Result<FollowOutcome> {
        check_count(authors.len(), 1_000)?;
        if authors.contains(follower) {
            return Err(invalid("nobody can follow themselves"));
        }
        self.app(app, |rows| Ok(rows.follow(app, follower, authors, cap, false, now)))
    }

    async fn unfollow(
        &self,
        app: &AppId,
        follower: &UserId,
        author: &UserId,
        keep_history: bool,
        now: UnixMs,
    ) -> Result<Option<OutboxRow>> {
        self.app(app, |rows| Ok(rows.unfollow(app, follower, author, keep_history, now)))
    }

    async fn edges(&self, app: &AppId, follower: &UserId) -> Result<Vec<Edge>> {
        self.app(app, |rows| Ok(of(&rows.edges, follower, None).map(|(_, edge)| edge.clone()).collect()))
    }

    async fn edges_to(
        &self,
        app: &AppId,
        followers: &[UserId],
        author: &UserId,
    ) -> Result<Vec<Option<Edge>>> {
        check_count(followers.len(), 10_000)?;
        self.app(app, |rows| {
            Ok(followers.iter().map(|follower| rows.edges.get(&pair(follower, author)).cloned()).collect())
        })
    }

    async fn edge_state(&self, app: &AppId, follower: &UserId, author: &UserId) -> Result<(bool, u64)> {
        self.app(app, |rows| {
            let key = pair(follower, author);
            let ended = rows.ended.get(&key).copied().unwrap_or(0);
            Ok(rows.edges.get(&key).map_or((false, ended), |edge| (edge.until.is_none(), edge.version)))
        })
    }

    async fn set_filled(&self, app: &AppId, follower: &UserId, author: &UserId, version: u64) -> Result<()> {
        self.app(app, |rows| {
            if let Some(edge) = rows.edges.get_mut(&pair(follower, author)) {
                edge.filled = edge.filled.max(version);
            }
            Ok(())
        })
    }

    async fn followers(
        &self,
        app: &AppId,
        author: &UserId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Follower>> {
        check_limit(limit, 10_000)?;
        self.app(app, |rows| {
            let page = of(&rows.followers, author, after).take(limit);
            Ok(page.map(|(user, since)| Follower { user: user.clone(), since: *since }).collect())
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
        self.app(app, |rows| {
            let edges = of(&rows.edges, follower, after).filter(|(_, edge)| edge.until.is_none());
            let page = edges.take(limit);
            Ok(page.map(|(user, edge)| Follower { user: user.clone(), since: edge.since }).collect())
        })
    }

    async fn counts(&self, app: &AppId, user: &UserId) -> Result<Counts> {
        self.app(app, |rows| {
            let posts = rows.authors.get(user).into_iter().flatten();
            let posts = posts.filter(|id| rows.posts.get(id).is_some_and(|post| !post.deleted)).count();
            let followers = of(&rows.followers, user, None).count();
            Ok(Counts { followers: followers as u64, following: rows.following(user), posts: posts as u64 })
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
        self.app(app, |rows| Ok(rows.relate(app, (user, relation, target), active, cap, now)))
    }

    async fn relations(&self, app: &AppId, user: &UserId) -> Result<Relations> {
        self.app(app, |rows| {
            let list = |relation| rows.related_to(relation, user).map(|(target, _)| target.clone()).collect();
            let blockers = rows.blockers.iter().filter(|(blocked, _)| blocked == user);
            let mut blocked_by: Vec<_> =
                blockers.map(|(_, by)| by.clone()).take(BLOCKED_BY_MAX + 1).collect();
            let blocked_by_more = blocked_by.len() > BLOCKED_BY_MAX;
            blocked_by.truncate(BLOCKED_BY_MAX);
            let (blocks, mutes) = (list(Relation::Block), list(Relation::Mute));
            Ok(Relations { blocks, blocked_by, blocked_by_more, mutes })
        })
    }

    async fn blocked_by(&self, app: &AppId, user: &UserId, others: &[UserId]) -> Result<Vec<bool>> {
        check_count(others.len(), 1_000)?;
        self.app(app, |rows| {
            Ok(others.iter().map(|other| rows.blockers.contains(&pair(user, other))).collect())
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
        self.app(app, |rows| {
            let page = rows.related_to(relation, user);
            let page = page.filter(|(target, _)| after.is_none_or(|after| *target > after)).take(limit);
            Ok(page.map(|(target, since)| RelationRow { user: target.clone(), since }).collect())
        })
    }
}
