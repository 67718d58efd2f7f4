//! Reading feeds. What is read in which order is what makes it right: first relations, pending backfills and the list of
//! celebrities, then the feed with its floor, at one instant, then everything that is merged with it.

use std::sync::Arc;

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Post, Visibility};
use futures_util::future::try_join3;

use crate::Result;
use crate::context::{Followee, ViewerContext};
use crate::feed_cache::FeedRead;
use crate::merge::{Merged, Stretch, merge};
use crate::modes::CelebrityList;
use crate::rebuild::Urgency;
use crate::rows::Ids;
use crate::settings::Mutant;
use crate::shared::Shared;
use crate::sync::{all, within};

/// Rounds of reading and filtering that one page takes at most. What is missing then comes with the next page.
const ROUNDS: usize = 5;
/// Most posts of a page.
pub const MAX_PAGE: usize = 100;
/// Read beyond what is wanted, for what the filters take out.
const SPARE: usize = 8;
/// Rows read of each followee below the floor.
const COLD_ROWS: usize = 64;
/// The same for users with many followees.
const COLD_ROWS_OF_MANY: usize = 24;
const MANY: usize = 200;

/// A page of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// Newest first.
    pub posts: Vec<Arc<Post>>,
    /// Where the next page goes on: below this id. `None`: the feed ends here.
    pub next: Option<PostId>,
    /// Something could not be read in time. The page ends above it; `next` leads there, and nothing is left out.
    pub partial: bool,
}

/// Reads feeds and posts.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// What one page is made with.
struct Query<'a> {
    app: &'a AppId,
    viewer: &'a UserId,
    context: Arc<ViewerContext>,
    list: Arc<CelebrityList>,
    retention: PostId,
    /// Monotonic time at which sources are given up.
    deadline_ms: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A page of the viewer's feed: at most `limit` (1 to [`MAX_PAGE`]) posts below `before`, or the newest. Empty pages
    /// that have a `next` happen: where many posts were filtered out, and where a source did not answer.
    pub async fn page(
        &self,
        app: &AppId,
        viewer: &UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<FeedPage> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = self.query(app, viewer).await?;
        let start = before.unwrap_or(PostId::MAX);
        let mut page = FeedPage { posts: Vec::with_capacity(limit), next: Some(start), partial: false };
        let mut below = start;
        for round in 0..ROUNDS {
            if below <= query.retention {
                page.next = None;
                return Ok(page);
            }
            let want = limit - page.posts.len() + SPARE;
            let merged = match self.candidates(&mut query, below, want, round == 0).await {
                Ok(Some(merged)) => merged,
                Ok(None) => return Ok(FeedPage { partial: true, ..page }),
                Err(error) if error.is_retryable() => return Ok(FeedPage { partial: true, ..page }),
                Err(error) => return Err(error),
            };
            if self.fill(&query, &merged, limit, &mut page).await? {
                return Ok(page);
            }
            below = merged.floor;
            page.next = (below > query.retention).then_some(below);
        }
        Ok(page)
    }

    /// For reads by id: what the viewer may not have becomes `None`: deleted posts, those of users blocked either way, and
    /// those for followers only. Without a viewer (the app itself) only deleted ones.
    pub async fn visible(
        &self,
        app: &AppId,
        viewer: Option<&UserId>,
        posts: Vec<Option<Post>>,
    ) -> Result<Vec<Option<Post>>> {
        let mut posts: Vec<_> = posts.into_iter().map(|post| post.map(Arc::new)).collect();
        self.take_hidden(app, viewer, &mut posts).await?;
        Ok(posts.into_iter().map(|post| post.map(Arc::unwrap_or_clone)).collect())
    }

    /// Posts by id (at most 1,000) as the viewer may have them, from the cache where it is fresh.
    pub async fn posts(
        &self,
        app: &AppId,
        viewer: Option<&UserId>,
        ids: &[PostId],
    ) -> Result<Vec<Option<Arc<Post>>>> {
        let mut posts = self.shared.bodies.get(app, ids).await?;
        self.take_hidden(app, viewer, &mut posts).await?;
        Ok(posts)
    }

    async fn take_hidden(
        &self,
        app: &AppId,
        viewer: Option<&UserId>,
        posts: &mut [Option<Arc<Post>>],
    ) -> Result<()> {
        let Some(viewer) = viewer else {
            take(posts, |post| post.deleted);
            return Ok(());
        };
        let context = self.shared.contexts.get(app, viewer).await?;
        take(posts, |post| !context.may_see(viewer, post));
        self.shared.contexts.take_blocked(app, viewer, &context, posts).await
    }

    /// Sees to it that a user who connects has a feed before the first read. `true`: it is there.
    pub async fn ensure_feed(&self, app: &AppId, user: &UserId, urgency: Urgency) -> Result<bool> {
        let now_ms = self.shared.clock.monotonic_ms();
        let read = self.shared.feeds.read(app, user, PostId::MAX, 0, Some(now_ms)).await?;
        let there = ready(&read);
        if !there {
            self.shared.rebuilds.request(app, user, urgency);
        }
        Ok(there)
    }

    async fn query<'a>(&self, app: &'a AppId, viewer: &'a UserId) -> Result<Query<'a>> {
        let shared = &self.shared;
        let deadline_ms = shared.clock.monotonic_ms() + shared.settings.read_budget_ms;
        let context = shared.contexts.get(app, viewer).await?;
        let list = shared.modes.celebrities(app).await?;
        Ok(Query { app, viewer, context, list, retention: shared.retention(), deadline_ms })
    }

    /// Everything that may be on the page, below an id and down to the floor of what was read. `None`: something did not
    /// answer in time.
    async fn candidates(
        &self,
        query: &mut Query<'_>,
        below: PostId,
        want: usize,
        first: bool,
    ) -> Result<Option<Merged<()>>> {
        let feed = self.feed(query, below, want, first).await;
        if self.shared.settings.planted(Mutant::ListAfterFeed) {
            *query = self.query(query.app, query.viewer).await?;
        }
        let left_ms = query.deadline_ms.saturating_sub(self.shared.clock.monotonic_ms());
        let feed = feed.filter(|feed| below > feed.floor);
        let clock = &*self.shared.clock;
        Ok(match feed {
            Some(feed) => within(clock, left_ms, self.hot(query, below, want, feed)).await.transpose()?,
            None => within(clock, left_ms, self.cold(query, below)).await.transpose()?,
        })
    }

    /// The feed's part, if there is a feed to be served from. A cache that does not answer is no feed: the page is merged
    /// from the store.
    async fn feed(&self, query: &Query<'_>, below: PostId, want: usize, first: bool) -> Option<Ids> {
        let shared = &self.shared;
        let touch_ms = first.then(|| shared.clock.monotonic_ms());
        let read = shared.feeds.read(query.app, query.viewer, below, want, touch_ms);
        let mut read = match within(&*shared.clock, shared.settings.projection_ms, read).await? {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%error, "feed not read");
                return None;
            }
        };
        if shared.settings.planted(Mutant::ReadEntriesFirst) {
            let later = shared.feeds.read(query.app, query.viewer, below, want, None).await.ok()?;
            read = FeedRead { entries: read.entries, ..later };
        }
        if !ready(&read) {
            shared.rebuilds.request(query.app, query.viewer, Urgency::Online);
            return None;
        }
        let stored = read.meta.as_ref().map_or(PostId::ZERO, |meta| meta.floor);
        let floor = match read.entries.last() {
            Some(last) if read.more => last.id.max(stored),
            _ => stored.max(read.cap_floor),
        };
        let floor = if shared.settings.planted(Mutant::FloorIgnored) { PostId::ZERO } else { floor };
        let shown = |author: &UserId, id: PostId| {
            author == query.viewer
                || query.context.followee(author).is_some_and(|followee| followee.has(id))
                    && !query.context.hides(author)
        };
        let entries = read.entries.into_iter();
        let ids = entries.filter(|entry| shown(&entry.author, entry.id)).map(|entry| (entry.id, ()));
        Some(Stretch { ids: ids.collect(), floor })
    }

    /// Above the floor: the feed, the viewer's own rows, pending followees' rows, followed celebrities' pull posts.
    async fn hot(&self, query: &Query<'_>, below: PostId, want: usize, feed: Ids) -> Result<Merged<()>> {
        let rows = &self.shared.rows;
        let places = if query.list.authors.is_empty() {
            None
        } else {
            Some(query.context.celebrities(&query.list)).filter(|places| !places.is_empty())
        };
        let own = rows.direct(query.app, query.viewer, below, want);
        if places.is_none() && !query.context.any_pending {
            let own = own.await?;
            return Ok(merge([feed, own], below, query.retention));
        }
        let (mut pending, mut pulls) = (Vec::new(), Vec::new());
        for followee in query.context.followees.iter().filter(|followee| followee.pending) {
            pending.push(rows.direct(query.app, &followee.author, upper(followee, below), want));
        }
        for place in places.iter().flat_map(|places| places.iter()) {
            let Some(followee) = query.context.followees.get(*place) else { continue };
            if !followee.pending {
                pulls.push(self.pull(query, followee, upper(followee, below), want));
            }
        }
        let width = self.shared.settings.read_width;
        let (pending, pulls) = (all(pending, width), all(pulls, width));
        let (own, pending, pulls) = try_join3(own, pending, pulls).await?;
        Ok(merge([feed, own].into_iter().chain(pending).chain(pulls), below, query.retention))
    }

    async fn pull(&self, query: &Query<'_>, followee: &Followee, below: PostId, want: usize) -> Result<Ids> {
        let read = self.shared.rows.pull(query.app, &followee.author, below, want).await;
        if read.is_err() && self.shared.settings.planted(Mutant::PartialPasses) {
            return Ok(Stretch { ids: Vec::new(), floor: PostId::ZERO });
        }
        read
    }

    /// Below the floor, and without a feed: the exact merge of everybody's rows.
    async fn cold(&self, query: &Query<'_>, below: PostId) -> Result<Merged<()>> {
        let shown = query.context.followees.iter().filter(|followee| !query.context.hides(&followee.author));
        let authors: Vec<(&UserId, PostId)> = shown
            .map(|followee| (&followee.author, upper(followee, below)))
            .chain(std::iter::once((query.viewer, below)))
            .collect();
        let limit = if authors.len() > MANY { COLD_ROWS_OF_MANY } else { COLD_ROWS };
        let mut reads = Vec::with_capacity(authors.len());
        for (author, upper) in authors {
            reads.push(self.shared.rows.chunk(query.app, author, upper, limit, false));
        }
        let stretches = all(reads, self.shared.settings.read_width).await?;
        Ok(merge(stretches, below, query.retention))
    }

    /// Reads and filters candidates until the page is full (`true`), or all are used, or they can't be read (`true`, and
    /// partial).
    async fn fill(
        &self,
        query: &Query<'_>,
        merged: &Merged<()>,
        limit: usize,
        page: &mut FeedPage,
    ) -> Result<bool> {
        let shared = &self.shared;
        let mut rest = merged.ids.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rest.len().min(limit - page.posts.len()));
            let ids: Vec<PostId> = batch.iter().map(|(id, ())| *id).collect();
            let left_ms = query.deadline_ms.saturating_sub(shared.clock.monotonic_ms());
            let read = async {
                let mut posts = shared.bodies.get(query.app, &ids).await?;
                take(&mut posts, |post| !in_feed(query, post));
                shared.contexts.take_blocked(query.app, query.viewer, &query.context, &mut posts).await?;
                crate::Result::Ok(posts)
            };
            let posts = match within(&*shared.clock, left_ms, read).await {
                Some(Ok(posts)) => posts,
                Some(Err(error)) if !error.is_retryable() => return Err(error),
                Some(Err(_)) | None => {
                    page.partial = true;
                    return Ok(true);
                }
            };
            page.posts.extend(posts.into_iter().flatten());
            rest = later;
            page.next = ids.last().copied();
            if page.posts.len() == limit {
                if rest.is_empty() && merged.floor <= query.retention {
                    page.next = None;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn ready(read: &FeedRead) -> bool {
    read.meta.as_ref().is_some_and(|meta| meta.ready && meta.generation == read.generation)
}

/// Where the rows of a followee are read from.
fn upper(followee: &Followee, below: PostId) -> PostId {
    followee.until.map_or(below, |until| until.min(below))
}

/// Takes out the posts that should not be there.
fn take(posts: &mut [Option<Arc<Post>>], hidden: impl Fn(&Post) -> bool) {
    for place in posts {
        if place.as_ref().is_some_and(|post| hidden(post)) {
            *place = None;
        }
    }
}

/// Follow, block, mute, deletion and visibility: at every read, whatever the sources say.
fn in_feed(query: &Query<'_>, post: &Post) -> bool {
    if post.deleted {
        return false;
    }
    if post.author == *query.viewer {
        return true;
    }
    let context = &query.context;
    context.followee(&post.author).is_some_and(|followee| {
        followee.has(post.id) && (post.visibility == Visibility::Public || followee.until.is_none())
    }) && !context.hides(&post.author)
}
