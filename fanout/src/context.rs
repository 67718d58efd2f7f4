//! Whom a reader follows and hides: what every page is filtered by.

use std::sync::{Arc, Mutex};

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Edge, Post, Relations, Stores, Visibility};
use futures_util::FutureExt;
use futures_util::future::try_join;

use crate::cache::Cache;
use crate::freshness::Freshness;
use crate::modes::CelebrityList;
use crate::settings::Mutant;
use crate::sync::lock;
use crate::{Clock, Result, Settings};

/// A followee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Followee {
    pub(crate) author: UserId,
    /// The backfill into the reader's feed is not complete: the author's rows are merged.
    pub(crate) pending: bool,
    /// No longer followed: only posts below this id are in the feed.
    pub(crate) until: Option<PostId>,
}

impl Followee {
    fn new(edge: Edge) -> Self {
        Self {
            pending: edge.filled < edge.version,
            until: edge.until.map(PostId::floor_of),
            author: edge.author,
        }
    }

    /// Whether a post of this author is in the feed.
    pub(crate) fn has(&self, id: PostId) -> bool {
        self.until.is_none_or(|until| id < until)
    }
}

/// One reader's relations, read at one time.
#[derive(Debug, Default)]
pub(crate) struct ViewerContext {
    /// In the order of authors.
    pub(crate) followees: Vec<Followee>,
    /// Whether any followee's rows must be merged.
    pub(crate) any_pending: bool,
    /// Blocked either way, in order.
    blocked: Vec<UserId>,
    /// More users block the reader than are named: each author must be asked about.
    pub(crate) blocked_by_more: bool,
    /// Muted, in order.
    muted: Vec<UserId>,
    /// Which followees are on a list of celebrities: the list's number, and their places in `followees`.
    celebrities: Mutex<Option<(u64, Arc<[usize]>)>>,
}

impl ViewerContext {
    fn new(edges: Vec<Edge>, relations: Relations) -> Self {
        let mut followees: Vec<_> = edges.into_iter().map(Followee::new).collect();
        followees.sort_by(|a, b| a.author.cmp(&b.author));
        let Relations { mut blocks, blocked_by, blocked_by_more, mut mutes } = relations;
        blocks.extend(blocked_by);
        blocks.sort_unstable();
        mutes.sort_unstable();
        let any_pending = followees.iter().any(|followee| followee.pending);
        Self {
            followees,
            any_pending,
            blocked: blocks,
            blocked_by_more,
            muted: mutes,
            celebrities: Mutex::default(),
        }
    }

    pub(crate) fn followee(&self, author: &UserId) -> Option<&Followee> {
        let at = self.followees.binary_search_by(|followee| followee.author.cmp(author)).ok()?;
        self.followees.get(at)
    }

    pub(crate) fn blocks(&self, user: &UserId) -> bool {
        self.blocked.binary_search(user).is_ok()
    }

    /// Blocked either way, or muted.
    pub(crate) fn hides(&self, user: &UserId) -> bool {
        self.blocks(user) || self.muted.binary_search(user).is_ok()
    }

    pub(crate) fn follows(&self, author: &UserId) -> bool {
        self.followee(author).is_some_and(|followee| followee.until.is_none())
    }

    /// Whether the reader may have the post at all, not only in the feed.
    pub(crate) fn may_see(&self, viewer: &UserId, post: &Post) -> bool {
        if post.deleted {
            return false;
        }
        post.author == *viewer
            || !self.blocks(&post.author)
                && (post.visibility == Visibility::Public || self.follows(&post.author))
    }

    /// Places of the followees that are on the list.
    pub(crate) fn celebrities(&self, list: &CelebrityList) -> Arc<[usize]> {
        let mut kept = lock(&self.celebrities);
        if let Some((number, places)) = &*kept
            && *number == list.number
        {
            return Arc::clone(places);
        }
        let places: Arc<[usize]> = self
            .followees
            .iter()
            .enumerate()
            .filter(|(_, followee)| list.authors.contains_key(&followee.author))
            .map(|(place, _)| place)
            .collect();
        *kept = Some((list.number, Arc::clone(&places)));
        places
    }

    fn bytes(&self) -> usize {
        100 + self.followees.len() * 96 + (self.blocked.len() + self.muted.len()) * 64
    }
}

/// Contexts in process: never older than [`Settings::freshness_ms`], and forgotten at once when this process writes.
pub(crate) struct Contexts {
    stores: Stores,
    clock: Arc<dyn Clock>,
    freshness: Arc<Freshness>,
    cache: Cache<(AppId, UserId), Arc<ViewerContext>>,
    no_pending: bool,
}

impl Contexts {
    pub(crate) fn new(
        stores: Stores,
        clock: Arc<dyn Clock>,
        freshness: Arc<Freshness>,
        settings: &Settings,
    ) -> Self {
        let cache = Cache::new(settings.relation_cache_bytes, |context: &Arc<ViewerContext>| context.bytes());
        Self { stores, clock, freshness, cache, no_pending: settings.planted(Mutant::NoPending) }
    }

    pub(crate) async fn get(&self, app: &AppId, user: &UserId) -> Result<Arc<ViewerContext>> {
        let now_ms = self.clock.monotonic_ms();
        let key = (app.clone(), user.clone());
        let load = || {
            let (graph, no_pending) = (Arc::clone(&self.stores.graph), self.no_pending);
            let (app, user) = key.clone();
            async move {
                let (edges, relations) =
                    try_join(graph.edges(&app, &user), graph.relations(&app, &user)).await?;
                let mut context = ViewerContext::new(edges, relations);
                if no_pending {
                    context.any_pending = false;
                    context.followees.iter_mut().for_each(|followee| followee.pending = false);
                }
                Ok(Arc::new(context))
            }
            .boxed()
        };
        self.cache.get_or_load(&key, now_ms, |at| self.freshness.fresh(at, now_ms), load).await
    }

    /// Of posts, those of authors who block the reader beyond what the context names are taken out.
    pub(crate) async fn take_blocked(
        &self,
        app: &AppId,
        viewer: &UserId,
        context: &ViewerContext,
        posts: &mut [Option<Arc<Post>>],
    ) -> Result<()> {
        if !context.blocked_by_more {
            return Ok(());
        }
        for posts in posts.chunks_mut(1_000) {
            let authors: Vec<UserId> = posts.iter().flatten().map(|post| post.author.clone()).collect();
            let blocked = self.stores.graph.blocked_by(app, viewer, &authors).await?;
            let there = posts.iter_mut().filter(|post| post.is_some());
            for (place, blocked) in there.zip(blocked) {
                if blocked {
                    *place = None;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn forget(&self, app: &AppId, user: &UserId) {
        self.cache.invalidate(&(app.clone(), user.clone()));
    }
}
