//! Feeds in memory, for one process. Twelve bytes an entry: the id, and a number for the author that all feeds share.

mod authors;
mod feed;

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use fama_protocol::{AppId, DenseMap, PostId, UserId};

use self::authors::Authors;
use self::feed::{Entry, Feed};
use crate::feed_cache::{FeedCache, FeedEntry, FeedRead, Rebuild};
use crate::settings::Mutant;
use crate::sync::lock;
use crate::{FanoutError, Result};

const SHARDS: usize = 16;

/// Feeds of one process. A generation is one life of it: what is lost with the process is lost whole.
pub struct MemoryFeedCache {
    hot_cap: usize,
    max_feeds: usize,
    feeds: AtomicUsize,
    generation: AtomicU64,
    seed: u64,
    authors: Authors,
    shards: Box<[Mutex<Shard>]>,
    mutant: Option<Mutant>,
}

type Shard = HashMap<AppId, DenseMap<UserId, Feed>, Seeded>;

/// Hashing from a seed: nobody outside can aim at one bucket, and one seed gives one order.
#[derive(Clone)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

impl MemoryFeedCache {
    /// A cache for feeds of `hot_cap` entries (1 to 10,000), at most `max_feeds` of them; `seed` is random.
    pub fn new(hot_cap: usize, max_feeds: usize, seed: u64) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(Seeded(seed)))).collect();
        Self {
            hot_cap: hot_cap.clamp(1, 10_000),
            max_feeds,
            feeds: AtomicUsize::new(0),
            generation: AtomicU64::new(1),
            seed,
            authors: Authors::default(),
            shards,
            mutant: None,
        }
    }

    /// The same with a planted bug.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// Forgets everything and begins a new generation, as a restart would.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            let gone = std::mem::replace(&mut *lock(shard), HashMap::with_hasher(Seeded(self.seed)));
            for feed in gone.into_values().flat_map(DenseMap::into_values) {
                self.forget(feed);
            }
        }
    }

    /// How many feeds there are.
    pub fn len(&self) -> usize {
        self.feeds.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn planted(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn shard(&self, app: &AppId, user: &UserId) -> &Mutex<Shard> {
        let hash = Seeded(!self.seed).hash_one((app, user));
        let at = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        &self.shards[at]
    }

    fn with<T>(&self, app: &AppId, user: &UserId, act: impl FnOnce(&mut Feed) -> T) -> Option<T> {
        let mut shard = lock(self.shard(app, user));
        shard.get_mut(app).and_then(|feeds| feeds.get_mut(user)).map(act)
    }

    fn forget(&self, feed: Feed) {
        self.feeds.fetch_sub(1, Ordering::Relaxed);
        self.authors.release(feed.into_entries().iter().map(Entry::author));
    }
}

#[async_trait]
impl FeedCache for MemoryFeedCache {
    fn hot_cap(&self) -> usize {
        self.hot_cap
    }

    async fn generation(&self) -> Result<u64> {
        Ok(self.generation.load(Ordering::SeqCst))
    }

    async fn read(
        &self,
        app: &AppId,
        user: &UserId,
        below: PostId,
        limit: usize,
        touch_ms: Option<u64>,
    ) -> Result<FeedRead> {
        let generation = self.generation.load(Ordering::SeqCst);
        let read = self.with(app, user, |feed| {
            if let Some(now_ms) = touch_ms {
                feed.touch(now_ms);
            }
            let (chosen, more) = feed.page(below, limit, self.hot_cap);
            let names = self.authors.names();
            let entries = chosen
                .iter()
                .rev()
                .map(|entry| FeedEntry { id: entry.id(), author: names.get(entry.author()) })
                .collect();
            let (meta, cap_floor) = (Some(feed.meta()), feed.cap_floor(self.hot_cap));
            FeedRead { meta, entries, more, cap_floor, generation }
        });
        Ok(read.unwrap_or(FeedRead { generation, ..FeedRead::default() }))
    }

    async fn add_to_many(&self, app: &AppId, users: &[UserId], entries: &[FeedEntry]) -> Result<u64> {
        let generation = self.generation.load(Ordering::SeqCst);
        let mut gone = Vec::new();
        let held = self.authors.acquire(entries.iter().map(|entry| &entry.author), users.len());
        for user in users {
            let added = self.with(app, user, |feed| {
                for (entry, author) in entries.iter().zip(&held) {
                    if !feed.add(Entry::new(entry.id, *author)) {
                        gone.push(*author);
                    }
                }
                feed.trim(self.hot_cap, &mut gone);
            });
            if added.is_none() {
                gone.extend(&held);
            }
        }
        self.authors.release(gone.into_iter());
        Ok(generation)
    }

    async fn begin_rebuild(
        &self,
        app: &AppId,
        user: &UserId,
        token: u64,
        now_ms: u64,
        lock_ms: u64,
    ) -> Result<Rebuild> {
        let generation = self.generation.load(Ordering::SeqCst);
        let mut shard = lock(self.shard(app, user));
        let feeds = shard.entry(app.clone()).or_default();
        let Some(feed) = feeds.get_mut(user) else {
            if self.feeds.fetch_add(1, Ordering::Relaxed) >= self.max_feeds {
                self.feeds.fetch_sub(1, Ordering::Relaxed);
                return Err(FanoutError::Full("the feed cache"));
            }
            feeds.insert(user.clone(), Feed::begin(token, generation, now_ms));
            return Ok(Rebuild::Begun);
        };
        Ok(feed.begin_again(token, generation, now_ms, lock_ms))
    }

    async fn finish_rebuild(&self, app: &AppId, user: &UserId, token: u64, floor: PostId) -> Result<bool> {
        let generation = self.generation.load(Ordering::SeqCst);
        let any_token = self.planted(Mutant::FinalNoToken);
        let overwrite = self.planted(Mutant::FinalOverwrites);
        let finished = self.with(app, user, |feed| {
            let mine = any_token || feed.token == token;
            if mine {
                feed.finish(if overwrite { floor } else { feed.floor.max(floor) }, generation);
            }
            mine
        });
        Ok(finished.unwrap_or(false))
    }

    async fn stamp_edge(&self, app: &AppId, user: &UserId, author: &UserId, version: u64) -> Result<()> {
        self.with(app, user, |feed| feed.stamp(author, version));
        Ok(())
    }

    async fn remove_author(
        &self,
        app: &AppId,
        user: &UserId,
        author: &UserId,
        token: u64,
        version: u64,
    ) -> Result<bool> {
        let Some(number) = self.authors.number(author) else { return Ok(false) };
        let any_token = self.planted(Mutant::CleanupNoToken);
        let keep_floor = self.planted(Mutant::CleanupNoFloor);
        let mut gone = Vec::new();
        let removed = self.with(app, user, |feed| {
            let safe = (any_token || feed.token == token) && feed.stamped(author) <= version;
            if safe {
                if !keep_floor {
                    feed.floor = feed.floor.max(feed.cap_floor(self.hot_cap));
                }
                feed.remove(number, &mut gone);
            }
            safe
        });
        gone.push(number);
        self.authors.release(gone.into_iter());
        Ok(removed.unwrap_or(false))
    }

    async fn expire(&self, before_ms: u64, limit: usize) -> Result<usize> {
        let mut dropped = 0;
        for shard in &self.shards {
            let mut gone = Vec::new();
            let mut shard = lock(shard);
            for feeds in shard.values_mut() {
                feeds.retain(|_, feed| {
                    let goes = dropped + gone.len() < limit && feed.was_used_before(before_ms);
                    if goes {
                        gone.push(std::mem::replace(feed, Feed::begin(0, 0, 0)));
                    }
                    !goes
                });
            }
            shard.retain(|_, feeds| !feeds.is_empty());
            drop(shard);
            dropped += gone.len();
            for feed in gone {
                self.forget(feed);
            }
            if dropped >= limit {
                break;
            }
        }
        Ok(dropped)
    }

    #[cfg(feature = "mutants")]
    async fn replace(&self, app: &AppId, user: &UserId, entries: &[FeedEntry]) -> Result<()> {
        let held = self.authors.acquire(entries.iter().map(|entry| &entry.author), 1);
        let mut gone = Vec::new();
        let done = self.with(app, user, |feed| {
            feed.clear(&mut gone);
            for (entry, author) in entries.iter().zip(&held) {
                if !feed.add(Entry::new(entry.id, *author)) {
                    gone.push(*author);
                }
            }
            feed.trim(self.hot_cap, &mut gone);
        });
        if done.is_none() {
            gone.extend(&held);
        }
        self.authors.release(gone.into_iter());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn entry(id: u64, author: &str) -> FeedEntry {
        FeedEntry { id: PostId::from_u64(id).unwrap(), author: user(author) }
    }

    #[tokio::test]
    async fn passes_the_contract() {
        crate::contract::feed_cache(|hot_cap| MemoryFeedCache::new(hot_cap, 1_000, 7)).await;
    }

    #[tokio::test]
    async fn refuses_feeds_beyond_its_bound_and_takes_them_again_after_expiry() {
        let cache = MemoryFeedCache::new(3, 2, 1);
        let app = AppId::default();
        for (name, now) in [("a", 1), ("b", 2)] {
            assert_eq!(cache.begin_rebuild(&app, &user(name), 1, now, 10).await.unwrap(), Rebuild::Begun);
        }
        let full = cache.begin_rebuild(&app, &user("c"), 1, 3, 10).await;
        assert!(matches!(full, Err(FanoutError::Full(_))));
        assert_eq!(cache.expire(2, 10).await.unwrap(), 1);
        assert_eq!(cache.begin_rebuild(&app, &user("c"), 1, 3, 10).await.unwrap(), Rebuild::Begun);
    }

    #[tokio::test]
    async fn names_of_authors_go_with_their_last_entry() {
        let cache = MemoryFeedCache::new(2, 100, 1);
        let app = AppId::default();
        let users: Vec<_> = ["a", "b", "none"].into_iter().map(user).collect();
        for user in &users[..2] {
            cache.begin_rebuild(&app, user, 1, 1, 10).await.unwrap();
        }
        for id in 1..5_000 {
            cache.add_to_many(&app, &users, &[entry(id, &format!("author{id}"))]).await.unwrap();
        }
        assert!(cache.authors.len() < 2_100, "{}", cache.authors.len());
        let read = cache.read(&app, &users[0], PostId::MAX, 10, None).await.unwrap();
        assert_eq!(read.entries, vec![entry(4_999, "author4999"), entry(4_998, "author4998")]);
        cache.clear();
        assert!(cache.is_empty() && cache.generation().await.unwrap() == 2);
        assert_eq!(cache.authors.used(), 0);
    }
}
