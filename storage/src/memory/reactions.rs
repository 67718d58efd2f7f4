//! Reactions.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::{MemoryStore, check_count, check_limit, invalid, next_version};
use crate::{OutboxRow, Reaction, ReactionStore, ReactionSummary, Result, Task};

/// A post has at most so many kinds.
const KINDS_MAX: usize = 32;

type OfPost = BTreeMap<(UserId, String), UnixMs>;

fn counts(of_post: &OfPost) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for (_, kind) in of_post.keys() {
        *counts.entry(kind.as_str()).or_default() += 1;
    }
    counts
}

fn check_kind(kind: &str) -> Result<()> {
    let fits = (1..=32).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if fits { Ok(()) } else { Err(invalid("a kind of reaction has 1 to 32 characters of a-z 0-9 _ -")) }
}

#[async_trait]
impl ReactionStore for MemoryStore {
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
        self.app(app, |rows| {
            let key = (user.clone(), kind.to_owned());
            let of_post = rows.reactions.entry(post).or_default();
            if of_post.contains_key(&key) == active {
                return Ok(None);
            }
            let kinds = counts(of_post);
            if active && kinds.len() >= KINDS_MAX && !kinds.contains_key(kind) {
                return Err(invalid(format!("a post has at most {KINDS_MAX} kinds of reactions")));
            }
            let own = of_post.iter().filter(|((by, _), _)| by == user).map(|(_, at)| at.0);
            let undone = rows.undone.get(&(post, user.clone())).copied().unwrap_or(0);
            let version = next_version(own.fold(undone, u64::max), now);
            if active {
                of_post.insert(key, UnixMs(version));
            } else {
                of_post.remove(&key);
                rows.undone.insert((post, user.clone()), version);
            }
            let task = Task::Reacted { post, user: user.clone(), kind: kind.to_owned(), active, version };
            Ok(Some(rows.owe(app, task, now)))
        })
    }

    async fn summaries(
        &self,
        app: &AppId,
        posts: &[PostId],
        viewer: Option<&UserId>,
    ) -> Result<Vec<ReactionSummary>> {
        check_count(posts.len(), 1_000)?;
        self.app(app, |rows| {
            let summary = |post| {
                let Some(of_post) = rows.reactions.get(post) else { return ReactionSummary::default() };
                let counts = counts(of_post).into_iter().map(|(kind, count)| (kind.to_owned(), count));
                let own = of_post.keys().filter(|(user, _)| Some(user) == viewer);
                ReactionSummary { counts: counts.collect(), own: own.map(|(_, kind)| kind.clone()).collect() }
            };
            Ok(posts.iter().map(summary).collect())
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
        self.app(app, |rows| {
            let all = rows.reactions.get(&post).into_iter().flatten();
            let page =
                all.filter(|((user, kind), _)| after.is_none_or(|after| (user, kind.as_str()) > after));
            let reaction = |((user, kind), at): (&(UserId, String), &UnixMs)| Reaction {
                user: user.clone(),
                kind: kind.clone(),
                created_at: *at,
            };
            Ok(page.take(limit).map(reaction).collect())
        })
    }
}
