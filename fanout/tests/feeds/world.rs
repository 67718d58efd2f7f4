//! Everything that a node has, with a clock that the test moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use fama_fanout::jobs::{Job, JobQueue, Lane, Received};
use fama_fanout::live::{
    Delivery as LiveDelivery, EventRef, LiveLog, LogLimits, MemoryBus, MemoryLiveLog, MemoryLogLimits,
    MemoryRegistry, NodeId,
};
use fama_fanout::{Clock, Deps, Feeds, MemoryFeedCache, MemoryJobQueue, Mutant, Settings};
use fama_protocol::{AppId, NodeNumber, PostId, ScopedChannel, Snowflake, UnixMs, UserId};
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use fama_storage::{Delivery, ErrorKind, OutboxRow, OutboxState, Post, SLOTS, Stores, Task, Visibility};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::model::{Model, ModelPost};

const HOT_CAP: usize = 20;
/// Jobs done at the same time.
const WIDTH: usize = 64;

pub fn person(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A clock that stands still until the test moves it. Nothing here waits for time.
pub struct HandClock {
    ms: AtomicU64,
    random: AtomicU64,
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> UnixMs {
        PostId::EPOCH.plus(100 * 86_400_000 + self.monotonic_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        self.ms.load(Ordering::SeqCst)
    }

    fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    async fn sleep(&self, _ms: u64) {
        std::future::pending::<()>().await;
    }
}

pub struct World {
    pub app: AppId,
    pub stores: Stores,
    pub feeds: Feeds,
    pub model: Model,
    users: Vec<UserId>,
    bug: Option<Mutant>,
    pub clock: Arc<HandClock>,
    cache: Arc<MemoryFeedCache>,
    jobs: Arc<dyn JobQueue>,
    log: Arc<MemoryLiveLog>,
    mint: Snowflake,
    /// Posts whose job waits, and those whose job was lost with the queue.
    queued: BTreeSet<PostId>,
    lost: BTreeSet<PostId>,
    pub done: BTreeMap<&'static str, usize>,
    _folder: tempfile::TempDir,
}

fn cache(seed: u64, bug: Option<Mutant>) -> MemoryFeedCache {
    let cache = MemoryFeedCache::new(HOT_CAP, 10_000, seed);
    #[cfg(feature = "mutants")]
    let cache = cache.with_mutant(bug);
    assert!(cfg!(feature = "mutants") || bug.is_none());
    cache
}

fn settings(sole_writer: bool, bug: Option<Mutant>) -> Settings {
    assert!(cfg!(feature = "mutants") || bug.is_none());
    Settings {
        #[cfg(feature = "mutants")]
        mutant: bug,
        celebrity_up: 60,
        celebrity_down: 55,
        dwell_ms: 20_000,
        page: 25,
        pipeline: 10,
        rebuilds_per_second: 0,
        sole_writer,
        ..Settings::default()
    }
}

impl World {
    pub fn empty(seed: u64) -> Self {
        Self::with_bug(seed, None)
    }

    fn with_bug(seed: u64, bug: Option<Mutant>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).unwrap();
        let clock = Arc::new(HandClock { ms: AtomicU64::new(1_000_000), random: AtomicU64::new(seed) });
        let log = Arc::new(MemoryLiveLog::new(MemoryLogLimits::default()));
        let cache = Arc::new(cache(seed, bug));
        let (stores, sole_writer) = (store.stores(), seed % 2 == 1);
        let (feeds, jobs) = Self::node(&stores, &cache, &clock, &log, sole_writer, bug);
        Self {
            app: AppId::default(),
            stores,
            feeds,
            model: Model::default(),
            users: Vec::new(),
            bug,
            clock,
            cache,
            jobs,
            log,
            mint: Snowflake::new(NodeNumber::new(1).unwrap(), PostId::ZERO),
            queued: BTreeSet::new(),
            lost: BTreeSet::new(),
            done: BTreeMap::new(),
            _folder: folder,
        }
    }

    fn node(
        stores: &Stores,
        cache: &Arc<MemoryFeedCache>,
        clock: &Arc<HandClock>,
        log: &Arc<MemoryLiveLog>,
        sole_writer: bool,
        bug: Option<Mutant>,
    ) -> (Feeds, Arc<dyn JobQueue>) {
        let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
        let jobs: Arc<dyn JobQueue> = Arc::new(MemoryJobQueue::new(Arc::clone(&clock), 100_000, 60_000));
        let delivery = LiveDelivery::new(
            Arc::clone(log) as Arc<dyn LiveLog>,
            Arc::new(MemoryRegistry::new(1_000)),
            Arc::new(MemoryBus::new(1_000, 1 << 20)),
            Arc::clone(&clock),
            NodeId("1.1".into()),
        );
        let feeds = Feeds::new(Deps {
            stores: stores.clone(),
            feeds: Arc::clone(cache) as Arc<dyn fama_fanout::FeedCache>,
            jobs: Arc::clone(&jobs),
            delivery: Arc::new(delivery),
            clock,
            settings: settings(sole_writer, bug),
        });
        (feeds, jobs)
    }

    /// A new process on the same store: the queue is gone, and with `forget` the feeds as well.
    pub fn restart(&mut self, forget: bool) {
        if forget {
            self.cache.clear();
        }
        self.lost.append(&mut self.queued);
        let sole_writer = self.random(2) == 0;
        (self.feeds, self.jobs) =
            Self::node(&self.stores, &self.cache, &self.clock, &self.log, sole_writer, self.bug);
    }

    pub async fn congress(seed: u64, bug: Option<Mutant>) -> Self {
        let mut world = Self::with_bug(seed, bug);
        let text = include_str!("../data/congress.txt");
        let people: Vec<(&str, &str)> = text
            .lines()
            .map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")))
            .collect();
        world.users = people.iter().map(|(name, _)| person(name)).collect();
        let users = world.users.clone();
        let follows = people.iter().zip(&users).map(|((_, others), user)| {
            let authors: Vec<UserId> =
                others.split_whitespace().map(|at| users[at.parse::<usize>().unwrap()].clone()).collect();
            let (writer, app) = (world.feeds.writer.clone(), world.app.clone());
            async move {
                if !authors.is_empty() {
                    writer.follow(&app, user, &authors).await.unwrap();
                }
                authors.into_iter().map(move |author| ((user.clone(), author), None))
            }
        });
        let edges: Vec<_> = join_all(follows).await.into_iter().flatten().collect();
        world.model.edges = edges.into_iter().collect();
        world.run_jobs().await;
        world
    }

    pub fn advance(&self, ms: u64) {
        self.clock.ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn random(&self, below: usize) -> usize {
        usize::try_from(self.clock.random() % below as u64).unwrap()
    }

    pub fn some_user(&self) -> UserId {
        self.users[self.random(self.users.len())].clone()
    }

    fn post(&mut self, author: &UserId, delivery: Delivery, followers_only: bool) -> Post {
        let now = self.clock.now();
        Post {
            id: self.mint.mint(now, PostId::ZERO).unwrap(),
            author: author.clone(),
            kind: "post".into(),
            text: Some("text".into()),
            data: None,
            reply_to: None,
            repost_of: None,
            mentions: vec![],
            visibility: if followers_only { Visibility::Followers } else { Visibility::Public },
            attachments: None,
            created_at: now,
            updated_at: now,
            rev: 1,
            delivery,
            deleted: false,
        }
    }

    pub fn late_post(&mut self, author: &UserId) -> Post {
        let post = self.post(author, Delivery::Push, false);
        self.advance(60_000);
        post
    }

    pub async fn publish(&mut self, author: &UserId) -> PostId {
        self.publish_to(author, false).await
    }

    pub async fn publish_to(&mut self, author: &UserId, followers_only: bool) -> PostId {
        let delivery = self.feeds.writer.delivery_for(&self.app, author).await.unwrap();
        let post = self.post(author, delivery, followers_only);
        self.feeds.writer.publish(&self.app, &post, None).await.unwrap();
        let kept = ModelPost { author: author.clone(), followers_only, deleted: false };
        self.model.posts.insert(post.id, kept);
        self.queued.insert(post.id);
        *self
            .done
            .entry(if delivery == Delivery::Pull { "pull posts" } else { "push posts" })
            .or_default() += 1;
        post.id
    }

    /// Does what waits in the queue; what is set back to later stays there.
    pub async fn run_jobs(&mut self) {
        loop {
            let mut received = Vec::new();
            for lane in [Lane::Small, Lane::Large] {
                while received.len() < WIDTH {
                    let Some(job) = self.jobs.receive(lane).now_or_never() else { break };
                    received.push(job.unwrap());
                }
            }
            if received.is_empty() {
                self.queued.clear();
                return;
            }
            *self.done.entry("jobs").or_default() += received.len();
            join_all(received.into_iter().map(|job| self.feeds.worker.run_one(job))).await;
        }
    }

    pub async fn rebuild_all(&mut self) {
        while self.feeds.rebuilds.waiting() > 0 {
            *self.done.entry("rebuilds").or_default() += usize::from(self.feeds.rebuild_one().await.unwrap());
        }
    }

    pub async fn sweep(&self) -> usize {
        let mut enqueued = 0;
        for slot in 0..SLOTS {
            enqueued += self.feeds.sweeper.sweep_once(slot).await.unwrap().enqueued;
        }
        enqueued
    }

    pub async fn recover(&self) -> usize {
        let mut enqueued = 0;
        for slot in 0..SLOTS {
            enqueued += self.feeds.sweeper.recover(slot).await.unwrap().enqueued;
        }
        enqueued
    }

    /// Runs a job that can never work until it is set aside: its followers are asked for after a bound that is refused.
    pub async fn poison(&mut self, author: &UserId, post: PostId) {
        let task = Task::FanOut { post, author: author.clone() };
        let state = OutboxState::Queued { at: self.clock.now(), attempts: 0 };
        let row = OutboxRow { app: self.app.clone(), task, state };
        let id = row.task.row_id();
        while let Some(job) = self.jobs.receive(Lane::Small).now_or_never() {
            self.jobs.ack(job.unwrap().ticket).await.unwrap();
        }
        let job = Job { row, after: None, lane: Lane::Small };
        let broken = self.broken(ErrorKind::Corrupt);
        for attempt in 1..=settings(false, None).attempts {
            let received = Received { job: job.clone(), attempt, waited_ms: 0, ticket: 0 };
            let aside = self.stores.outbox.quarantined(&self.app, 10).await.unwrap();
            assert!(aside.is_empty(), "{id:?} was set aside too early");
            broken.worker.run_one(received).await;
        }
    }

    fn deps(&self) -> Deps {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let delivery = LiveDelivery::new(
            Arc::clone(&self.log) as Arc<dyn LiveLog>,
            Arc::new(MemoryRegistry::new(10)),
            Arc::new(MemoryBus::new(10, 1 << 20)),
            Arc::clone(&clock),
            NodeId("2.1".into()),
        );
        Deps {
            stores: self.stores.clone(),
            feeds: Arc::clone(&self.cache) as Arc<dyn fama_fanout::FeedCache>,
            jobs: Arc::clone(&self.jobs),
            delivery: Arc::new(delivery),
            clock,
            settings: settings(false, None),
        }
    }

    /// A node on the same store that can't read posts.
    pub fn broken(&self, kind: ErrorKind) -> Feeds {
        let stores = Stores { posts: Arc::new(crate::damaged::Damaged(kind)), ..self.stores.clone() };
        Feeds::new(Deps { stores, ..self.deps() })
    }

    pub async fn open_log(&self, channel: &ScopedChannel) {
        let limits = LogLimits { size: 100, ttl_ms: u64::MAX / 4 };
        self.log.open(channel, limits, 7, self.clock.monotonic_ms()).await.unwrap();
    }

    /// The references that a log holds, as text.
    pub async fn log(&self, channel: &ScopedChannel) -> Vec<String> {
        let now_ms = self.clock.monotonic_ms();
        let read = self.log.since(channel, 0, 100, now_ms).await.unwrap().unwrap();
        let text = |bytes: &[u8]| match EventRef::decode(bytes).unwrap() {
            EventRef::PostCreated { post } => format!("c{post}"),
            EventRef::PostUpdated { post, rev } => format!("u{post}/{rev}"),
            EventRef::PostDeleted { post } => format!("d{post}"),
            EventRef::Notification { id } => format!("n{id}"),
            EventRef::InboxMarked => "marked".to_owned(),
            EventRef::RelationChanged { kind, target, active } => {
                format!("r{}{}{target}", &kind.as_str()[..1], u8::from(active))
            }
        };
        read.entries.iter().map(|(_, bytes)| text(bytes)).collect()
    }

    pub async fn first_page(&self, user: &UserId) -> Vec<PostId> {
        let page = self.feeds.reader.page(&self.app, user, None, 20).await.unwrap();
        assert!(!page.partial);
        page.posts.iter().map(|post| post.id).collect()
    }

    pub async fn walk(&self, user: &UserId, limit: usize) -> Vec<PostId> {
        let (mut ids, mut before) = (Vec::new(), None);
        for _ in 0..10_000 {
            let page = self.feeds.reader.page(&self.app, user, before, limit).await.unwrap();
            assert!(!page.partial && page.posts.len() <= limit);
            ids.extend(page.posts.iter().map(|post| post.id));
            match page.next {
                Some(next) => {
                    assert!(before.is_none_or(|before| next < before), "no progress at {next}");
                    before = Some(next);
                }
                None => return ids,
            }
        }
        panic!("the walk of {user} does not end");
    }

    /// Lets everything that is owed happen, and everything that may be stale run out.
    pub async fn settle(&mut self) {
        self.recover().await;
        for _ in 0..20 {
            self.run_jobs().await;
            self.rebuild_all().await;
            self.advance(10_000);
            self.feeds.modes.reconcile_all().await.unwrap();
            self.sweep().await;
            if self.stores.outbox.backlog().await.unwrap() == 0 {
                self.lost.clear();
                return;
            }
        }
        panic!("{} rows are still owed", self.stores.outbox.backlog().await.unwrap());
    }

    pub async fn compare_all(&self, when: &str) {
        let mut longest = 0;
        for (at, user) in self.users.iter().enumerate() {
            let expected = self.model.feed(user);
            longest = longest.max(expected.len());
            let walked = self.walk(user, [3, 20, 100][at % 3]).await;
            assert_eq!(walked, expected, "{when}: the feed of {user}");
        }
        assert!(longest > HOT_CAP, "{when}: feeds are too short to reach below their floors: {longest}");
    }

    /// A walk while jobs wait: in order, nothing that must not be seen, and everything whose fan-out is over.
    pub async fn check_in_flight(&self, user: &UserId) {
        let walked = self.walk(user, 20).await;
        assert!(walked.windows(2).all(|pair| pair[0] > pair[1]));
        for id in &walked {
            assert!(self.model.sees(user, *id), "{user} sees {id}");
        }
        let now = self.clock.now();
        for id in self.model.feed(user) {
            let own = self.model.posts[&id].author == *user;
            let under_way = self.queued.contains(&id)
                || self.lost.contains(&id)
                || now.since(id.minted_at()) <= Settings::default().rows_ttl_ms;
            if walked.contains(&id) || under_way && !own {
                continue;
            }
            let author = &self.model.posts[&id].author;
            let edge =
                self.stores.graph.edges_to(&self.app, std::slice::from_ref(user), author).await.unwrap();
            let post = self.stores.posts.get_many(&self.app, &[id]).await.unwrap();
            let mode = self.feeds.modes.record(&self.app, author).await.unwrap();
            panic!("{now:?}: {user} misses {id}: {edge:?} {mode:?} {post:?}; got {walked:?}");
        }
    }

    pub fn report(&self) {
        assert!(self.done.get("pull posts").is_some_and(|count| *count > 20), "{:?}", self.done);
        assert!(self.done.get("rebuilds").is_some_and(|count| *count > 20), "{:?}", self.done);
        eprintln!("{:?}", self.done);
    }
}
