//! Feed cache and job queue under simulation. The cache is a primary that may be lost, and replaced by an empty one of
//! another generation while some still write to the old one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fama_fanout::feed_cache::{FeedEntry, FeedRead, Rebuild};
use fama_fanout::jobs::{Job, Lane, Received};
use fama_fanout::{FanoutError, FeedCache, JobQueue, MemoryFeedCache, MemoryJobQueue, Mutant, Result};
use fama_protocol::{AppId, PostId, UserId};

use crate::faults::Faults;
use crate::sched::lock;

/// One life of the cache.
pub struct Instance {
    pub cache: MemoryFeedCache,
    generation: u64,
    dead: AtomicBool,
}

/// The caches there are and were.
pub struct Primary {
    mutant: Option<Mutant>,
    hot_cap: usize,
    now: Mutex<Arc<Instance>>,
    /// The newest generation that the store knows.
    durable: AtomicU64,
}

impl Primary {
    pub fn new(hot_cap: usize, mutant: Option<Mutant>) -> Self {
        let now = Mutex::new(instance(hot_cap, 1, mutant));
        Self { mutant, hot_cap, now, durable: AtomicU64::new(1) }
    }

    pub fn now(&self) -> Arc<Instance> {
        Arc::clone(&lock(&self.now))
    }

    /// An empty one takes its place. The old one is returned: writers may still reach it until it is declared dead.
    pub fn replace(&self) -> Arc<Instance> {
        let mut now = lock(&self.now);
        let next = instance(self.hot_cap, now.generation + 1, self.mutant);
        std::mem::replace(&mut *now, next)
    }
}

impl Instance {
    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }
}

fn instance(hot_cap: usize, generation: u64, mutant: Option<Mutant>) -> Arc<Instance> {
    let cache = MemoryFeedCache::new(hot_cap, 1_000, 7);
    #[cfg(feature = "mutants")]
    let cache = cache.with_mutant(mutant);
    #[cfg(not(feature = "mutants"))]
    let _ = mutant;
    for _ in 1..generation {
        cache.clear();
    }
    Arc::new(Instance { cache, generation, dead: AtomicBool::new(false) })
}

/// One process's connection to the cache.
pub struct Feeds {
    primary: Arc<Primary>,
    faults: Arc<Faults>,
    connected: Mutex<Arc<Instance>>,
}

impl Feeds {
    pub fn new(primary: &Arc<Primary>, faults: &Arc<Faults>) -> Self {
        let connected = Mutex::new(primary.now());
        Self { primary: Arc::clone(primary), faults: Arc::clone(faults), connected }
    }

    /// Where writers write: the instance connected to, until it is gone.
    fn connection(&self) -> Result<Arc<Instance>> {
        let mut connected = lock(&self.connected);
        if connected.dead.load(Ordering::Relaxed) {
            *connected = self.primary.now();
            return Err(FanoutError::Projection {
                what: "the feed cache",
                why: "connection lost".to_owned(),
            });
        }
        Ok(Arc::clone(&connected))
    }
}

#[async_trait]
impl FeedCache for Feeds {
    fn hot_cap(&self) -> usize {
        self.primary.hot_cap
    }

    async fn generation(&self) -> Result<u64> {
        self.faults.pause().await;
        let durable = self.primary.durable.load(Ordering::Relaxed);
        self.faults.pause().await;
        Ok(durable)
    }

    async fn read(
        &self,
        app: &AppId,
        user: &UserId,
        below: PostId,
        limit: usize,
        touch_ms: Option<u64>,
    ) -> Result<FeedRead> {
        self.faults.pause().await;
        // Workers look at the meta of what they write to; readers always find the primary.
        let at = if limit == 0 && touch_ms.is_none() { self.connection()? } else { self.primary.now() };
        let read = at.cache.read(app, user, below, limit, touch_ms).await;
        self.faults.pause().await;
        read
    }

    async fn add_to_many(&self, app: &AppId, users: &[UserId], entries: &[FeedEntry]) -> Result<u64> {
        let mut oldest = u64::MAX;
        for user in users {
            // Atomic for one user only, and for one entry only as seen by others who add.
            for entry in entries.chunks(1) {
                self.faults.pause().await;
                let at = self.connection()?;
                let added = at.cache.add_to_many(app, std::slice::from_ref(user), entry).await?;
                self.faults.sim.log(|| format!("adds {} of {} to {user}", entry[0].id, entry[0].author));
                oldest = oldest.min(added);
            }
        }
        self.faults.pause().await;
        Ok(if oldest == u64::MAX { self.connection()?.generation } else { oldest })
    }

    async fn begin_rebuild(
        &self,
        app: &AppId,
        user: &UserId,
        token: u64,
        now_ms: u64,
        lock_ms: u64,
    ) -> Result<Rebuild> {
        self.faults.pause().await;
        *lock(&self.connected) = self.primary.now();
        let at = self.connection()?;
        self.primary.durable.fetch_max(at.generation, Ordering::Relaxed);
        self.faults.pause().await;
        let begun = at.cache.begin_rebuild(app, user, token, now_ms, lock_ms).await;
        self.faults.sim.log(|| format!("rebuild of {user} with token {token}: {begun:?}"));
        self.faults.pause().await;
        begun
    }

    async fn finish_rebuild(&self, app: &AppId, user: &UserId, token: u64, floor: PostId) -> Result<bool> {
        self.faults.pause().await;
        let finished = self.connection()?.cache.finish_rebuild(app, user, token, floor).await;
        self.faults
            .sim
            .log(|| format!("rebuild of {user} with token {token} ends, floor {floor}: {finished:?}"));
        self.faults.pause().await;
        finished
    }

    async fn stamp_edge(&self, app: &AppId, user: &UserId, author: &UserId, version: u64) -> Result<()> {
        self.faults.pause().await;
        let stamped = self.connection()?.cache.stamp_edge(app, user, author, version).await;
        self.faults.pause().await;
        stamped
    }

    async fn remove_author(
        &self,
        app: &AppId,
        user: &UserId,
        author: &UserId,
        token: u64,
        version: u64,
    ) -> Result<bool> {
        self.faults.pause().await;
        let removed = self.connection()?.cache.remove_author(app, user, author, token, version).await;
        self.faults.sim.log(|| format!("removes {author} from {user}, token {token}: {removed:?}"));
        self.faults.pause().await;
        removed
    }

    async fn expire(&self, before_ms: u64, limit: usize) -> Result<usize> {
        self.faults.pause().await;
        self.primary.now().cache.expire(before_ms, limit).await
    }

    #[cfg(feature = "mutants")]
    async fn replace(&self, app: &AppId, user: &UserId, entries: &[FeedEntry]) -> Result<()> {
        self.faults.pause().await;
        self.connection()?.cache.replace(app, user, entries).await
    }
}

/// The queue, with others running around every call.
pub struct Jobs {
    pub inner: Arc<MemoryJobQueue>,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl JobQueue for Jobs {
    async fn enqueue(&self, job: Job) -> Result<()> {
        self.faults.pause().await;
        self.inner.enqueue(job).await
    }

    async fn receive(&self, lane: Lane) -> Result<Received> {
        self.faults.pause().await;
        self.inner.receive(lane).await
    }

    async fn ack(&self, ticket: u64) -> Result<()> {
        self.faults.pause().await;
        self.inner.ack(ticket).await
    }

    async fn nack(&self, ticket: u64, delay_ms: u64) -> Result<()> {
        self.faults.pause().await;
        self.inner.nack(ticket, delay_ms).await
    }

    async fn depth(&self, lane: Lane) -> Result<usize> {
        self.inner.depth(lane).await
    }
}
