//! Posts by id, kept in process.

use std::sync::Arc;

use fama_protocol::{AppId, PostId};
use fama_storage::{Post, PostStore};

use crate::cache::Cache;
use crate::freshness::Freshness;
use crate::{Clock, Result, Settings};

/// Ids asked of the store at once.
const BATCH: usize = 1_000;

/// Bodies and deletions: never older than [`Settings::freshness_ms`], and forgotten at once when this process writes.
pub(crate) struct Bodies {
    posts: Arc<dyn PostStore>,
    clock: Arc<dyn Clock>,
    freshness: Arc<Freshness>,
    /// By id alone, which is unique among apps; each entry knows its app all the same.
    cache: Cache<PostId, (AppId, Arc<Post>)>,
}

impl Bodies {
    pub(crate) fn new(
        posts: Arc<dyn PostStore>,
        clock: Arc<dyn Clock>,
        freshness: Arc<Freshness>,
        settings: &Settings,
    ) -> Self {
        let cache = Cache::new(settings.post_cache_bytes, |(_, post): &(AppId, Arc<Post>)| bytes(post));
        Self { posts, clock, freshness, cache }
    }

    /// The posts in the order asked; `None` for those the store does not know.
    pub(crate) async fn get(&self, app: &AppId, ids: &[PostId]) -> Result<Vec<Option<Arc<Post>>>> {
        let now_ms = self.clock.monotonic_ms();
        let mut found = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for (place, id) in ids.iter().enumerate() {
            let kept = self.cache.get(id, |at| self.freshness.fresh(at, now_ms));
            let post = kept.filter(|(of, _)| of == app).map(|(_, post)| post);
            if post.is_none() {
                missing.push((place, *id, self.cache.changes(id)));
            }
            found.push(post);
        }
        for batch in missing.chunks(BATCH) {
            let wanted: Vec<PostId> = batch.iter().map(|(_, id, _)| *id).collect();
            let posts = self.posts.get_many(app, &wanted).await?;
            for ((place, id, changes), post) in batch.iter().zip(posts) {
                let Some(post) = post.map(Arc::new) else { continue };
                self.cache.put(*id, (app.clone(), Arc::clone(&post)), now_ms, *changes);
                if let Some(place) = found.get_mut(*place) {
                    *place = Some(post);
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn forget(&self, id: PostId) {
        self.cache.invalidate(&id);
    }
}

fn bytes(post: &Post) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let parts = text(&post.text) + text(&post.data) + text(&post.attachments) + post.kind.len();
    size_of::<Post>() + parts + 64 * post.mentions.len() + post.author.as_str().len()
}
