//! Authors' own rows: the newest pull posts, and stretches further down, kept in process where that is safe.

use std::sync::Arc;

use fama_protocol::{AppId, PostId, UnixMs, UserId};
use fama_storage::{AuthorPage, PostStore};
use futures_util::FutureExt;

use crate::cache::Cache;
use crate::merge::Stretch;
use crate::settings::Mutant;
use crate::{Clock, Result, Settings};

/// Stretches of one author's rows kept at once: readers at that many depths share them.
const KEPT_CHUNKS: usize = 8;
/// Rows read to find out what is new above what is kept.
const REFRESH: usize = 16;

/// Ids alone: which author they are of is known.
pub(crate) type Ids = Stretch<()>;

/// The newest pull posts of an author.
#[derive(Debug)]
struct Top {
    ids: Arc<[PostId]>,
    floor: PostId,
    /// Wall clock before it was read.
    read_at: UnixMs,
}

/// A stretch of rows below `upper`, read when nothing below `upper` could turn up any more.
#[derive(Debug, Clone)]
struct Chunk {
    upper: PostId,
    ids: Arc<[PostId]>,
    floor: PostId,
    loaded_ms: u64,
}

type ChunkKey = (AppId, UserId, bool);

pub(crate) struct Rows {
    posts: Arc<dyn PostStore>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    hot_cap: usize,
    tops: Cache<(AppId, UserId), Arc<Top>>,
    chunks: Cache<ChunkKey, Arc<[Chunk]>>,
}

impl Rows {
    pub(crate) fn new(
        posts: Arc<dyn PostStore>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
        hot_cap: usize,
    ) -> Self {
        let bytes = settings.row_cache_bytes / 2;
        Self {
            posts,
            clock,
            settings,
            hot_cap: hot_cap.min(1_000),
            tops: Cache::new(bytes, |top: &Arc<Top>| 64 + 8 * top.ids.len()),
            chunks: Cache::new(bytes, |chunks: &Arc<[Chunk]>| {
                chunks.iter().map(|chunk| 64 + 8 * chunk.ids.len()).sum()
            }),
        }
    }

    /// An author's rows as they are now.
    pub(crate) async fn direct(
        &self,
        app: &AppId,
        author: &UserId,
        below: PostId,
        limit: usize,
    ) -> Result<Ids> {
        direct(&*self.posts, app, author, below, limit, false).await
    }

    /// An author's newest `count` posts below an id, down to `floor`: deleted ones take no place, so that a feed which
    /// gets these holds `count` of them or all there are.
    pub(crate) async fn newest(
        &self,
        app: &AppId,
        author: &UserId,
        mut below: PostId,
        count: usize,
        floor: PostId,
        pull_only: bool,
    ) -> Result<Vec<PostId>> {
        let mut found = Vec::new();
        loop {
            let rows = direct(&*self.posts, app, author, below, count - found.len(), pull_only).await?;
            found.extend(rows.ids.into_iter().map(|(id, ())| id).filter(|id| *id >= floor));
            if found.len() >= count || rows.floor <= floor {
                found.truncate(count);
                return Ok(found);
            }
            below = rows.floor;
        }
    }

    /// An author's pull posts below an id, as they were at most [`Settings::rows_ttl_ms`] ago.
    pub(crate) async fn pull(
        &self,
        app: &AppId,
        author: &UserId,
        below: PostId,
        limit: usize,
    ) -> Result<Ids> {
        let now_ms = self.clock.monotonic_ms();
        let key = (app.clone(), author.clone());
        let old = self.tops.get(&key, |_| true);
        let load = || {
            let (posts, settings, hot_cap) =
                (Arc::clone(&self.posts), Arc::clone(&self.settings), self.hot_cap);
            let (read_at, (app, author)) = (self.clock.now(), key.clone());
            async move { load_top(&*posts, &app, &author, old, read_at, hot_cap, &settings).await.map(Arc::new) }
                .boxed()
        };
        let fresh = |at: u64| now_ms.saturating_sub(at) <= self.settings.rows_ttl_ms;
        let top = self.tops.get_or_load(&key, now_ms, fresh, load).await?;
        if below > top.floor {
            return Ok(cut(&top.ids, top.floor, below, limit));
        }
        self.chunk(app, author, below, limit, true).await
    }

    /// A stretch of an author's rows below an id: kept for a while if no older id can still turn up there.
    pub(crate) async fn chunk(
        &self,
        app: &AppId,
        author: &UserId,
        below: PostId,
        limit: usize,
        pull_only: bool,
    ) -> Result<Ids> {
        let (now_ms, now) = (self.clock.monotonic_ms(), self.clock.now());
        let key = (app.clone(), author.clone(), pull_only);
        let settled = self.settings.planted(Mutant::ChunkUnsettled)
            || below < PostId::MAX && settled(below, now, &self.settings);
        let kept = self.chunks.get(&key, |_| true).filter(|_| settled);
        let fresh = |chunk: &Chunk| now_ms.saturating_sub(chunk.loaded_ms) <= self.settings.chunk_ttl_ms;
        let covers = |chunk: &&Chunk| {
            fresh(chunk) && below <= chunk.upper && (below > chunk.floor || chunk.floor == PostId::ZERO)
        };
        if let Some(chunk) = kept.as_ref().and_then(|chunks| chunks.iter().find(covers)) {
            return Ok(cut(&chunk.ids, chunk.floor, below, limit));
        }
        let stretch = direct(&*self.posts, app, author, below, limit, pull_only).await?;
        if settled {
            let ids = stretch.ids.iter().map(|(id, ())| *id).collect();
            let chunk = Chunk { upper: below, ids, floor: stretch.floor, loaded_ms: now_ms };
            // Somebody else's stretch may be lost here: it is read again.
            let others = kept.iter().flat_map(|chunks| chunks.iter()).filter(|other| fresh(other)).cloned();
            let chunks = std::iter::once(chunk).chain(others).take(KEPT_CHUNKS).collect();
            let changes = self.chunks.changes(&key);
            self.chunks.put(key, chunks, now_ms, changes);
        }
        Ok(stretch)
    }
}

/// Whether no id below can still turn up.
fn settled(id: PostId, now: UnixMs, settings: &Settings) -> bool {
    id.minted_at().plus(settings.settled_ms()) <= now
}

/// The part of a stretch below an id, newest `limit`.
fn cut(ids: &[PostId], floor: PostId, below: PostId, limit: usize) -> Ids {
    let start = ids.partition_point(|id| *id >= below);
    let rest = ids.get(start..).unwrap_or_default();
    let (part, floor) = match rest.split_at_checked(limit) {
        Some((part, left)) if !left.is_empty() => (part, part.last().copied().unwrap_or(floor)),
        _ => (rest, floor),
    };
    Stretch { ids: part.iter().map(|id| (*id, ())).collect(), floor }
}

async fn direct(
    posts: &dyn PostStore,
    app: &AppId,
    author: &UserId,
    below: PostId,
    limit: usize,
    pull_only: bool,
) -> Result<Ids> {
    let before = (below < PostId::MAX).then_some(below);
    let page = posts.by_author(app, author, before, limit.clamp(1, 1_000), pull_only).await?;
    Ok(stretch(&page))
}

/// Down to the last row, if there are more; deleted ones count for that, and are left out.
fn stretch(page: &AuthorPage) -> Ids {
    let floor = page.posts.last().filter(|_| page.more).map_or(PostId::ZERO, |row| row.id);
    let ids = page.posts.iter().filter(|row| !row.deleted).map(|row| (row.id, ())).collect();
    Stretch { ids, floor }
}

/// Reads the newest rows, and joins them to what was read before wherever that is known to be unchanged.
async fn load_top(
    posts: &dyn PostStore,
    app: &AppId,
    author: &UserId,
    old: Option<Arc<Top>>,
    read_at: UnixMs,
    hot_cap: usize,
    settings: &Settings,
) -> Result<Top> {
    if let Some(old) = old {
        let new = direct(posts, app, author, PostId::MAX, REFRESH.min(hot_cap), true).await?;
        let joins = old.floor <= new.floor && settled(new.floor, old.read_at, settings);
        if new.floor > PostId::ZERO && joins {
            let above = new.ids.into_iter().map(|(id, ())| id);
            let below = old.ids.iter().copied().filter(|id| *id < new.floor);
            let mut ids: Vec<PostId> = above.chain(below).collect();
            let mut floor = old.floor;
            if ids.len() > hot_cap {
                ids.truncate(hot_cap);
                floor = ids.last().copied().unwrap_or(floor);
            }
            return Ok(Top { ids: ids.into(), floor, read_at });
        }
        if new.floor == PostId::ZERO {
            return Ok(Top {
                ids: new.ids.into_iter().map(|(id, ())| id).collect(),
                floor: new.floor,
                read_at,
            });
        }
    }
    let all = direct(posts, app, author, PostId::MAX, hot_cap, true).await?;
    Ok(Top { ids: all.ids.into_iter().map(|(id, ())| id).collect(), floor: all.floor, read_at })
}
