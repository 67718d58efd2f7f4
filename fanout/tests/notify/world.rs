//! A node over the store in memory, and what every inbox must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use fama_fanout::jobs::{Job, JobQueue, Lane, Received};
use fama_fanout::live::{
    Delivery as LiveDelivery, LiveLog, LogLimits, MemoryBus, MemoryLiveLog, MemoryLogLimits, MemoryRegistry,
    NodeId,
};
use fama_fanout::{Clock, Deps, Feeds, MemoryFeedCache, MemoryJobQueue, Settings};
use fama_protocol::{AppId, NodeNumber, PostId, ScopedChannel, UnixMs, UserId};
use fama_storage::memory::MemoryStore;
use fama_storage::{
    Delivery, FollowOutcome, Mark, Notification, OutboxRow, Post, Relation, SLOTS, Stores, Visibility,
};
use futures_util::FutureExt;

pub const PEOPLE: u8 = 6;

pub fn person(number: u8) -> UserId {
    UserId::new(&format!("p{number}")).unwrap()
}

struct HandClock {
    ms: AtomicU64,
    random: AtomicU64,
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> UnixMs {
        PostId::EPOCH.plus(100 * 86_400_000 + self.monotonic_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        self.ms.load(Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    async fn sleep(&self, _ms: u64) {
        std::future::pending::<()>().await;
    }
}

/// An act that stands, for its recipient: who did what.
type Act = (u8, u8, String);
/// What its notification shows: type and subject.
type About = (&'static str, Option<PostId>);

pub struct World {
    pub app: AppId,
    pub stores: Stores,
    pub feeds: Feeds,
    pub jobs: Arc<MemoryJobQueue>,
    clock: Arc<HandClock>,
    log: Arc<MemoryLiveLog>,
    posts: Vec<Post>,
    minted: u16,
    /// All rows there ever were.
    history: Vec<OutboxRow>,
    stands: BTreeMap<Act, About>,
    relations: BTreeSet<(bool, u8, u8)>,
}

impl World {
    pub fn new() -> Self {
        let stores = MemoryStore::new().stores();
        let clock = Arc::new(HandClock { ms: AtomicU64::new(1_000), random: AtomicU64::new(7) });
        let time: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let log = Arc::new(MemoryLiveLog::new(MemoryLogLimits::default()));
        let jobs = Arc::new(MemoryJobQueue::new(Arc::clone(&time), 100_000, 60_000));
        let delivery = LiveDelivery::new(
            Arc::clone(&log) as _,
            Arc::new(MemoryRegistry::new(10)),
            Arc::new(MemoryBus::new(10, 1 << 20)),
            Arc::clone(&time),
            NodeId("1.1".into()),
        );
        let feeds = Feeds::new(Deps {
            stores: stores.clone(),
            feeds: Arc::new(MemoryFeedCache::new(20, 100, 1)),
            jobs: Arc::clone(&jobs) as _,
            delivery: Arc::new(delivery),
            clock: time,
            settings: Settings { page: 2, ..Settings::default() },
        });
        Self {
            app: AppId::default(),
            stores,
            feeds,
            jobs,
            clock,
            log,
            posts: Vec::new(),
            minted: 0,
            history: Vec::new(),
            stands: BTreeMap::new(),
            relations: BTreeSet::new(),
        }
    }

    pub fn pass(&self, ms: u64) {
        self.clock.ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn mint(&self, sequence: u16) -> PostId {
        PostId::from_parts(self.clock.now(), NodeNumber::new(1).unwrap(), sequence)
    }

    fn hidden(&self, from: u8, actor: u8) -> bool {
        let has = |mute, one, other| self.relations.contains(&(mute, one, other));
        from == actor || has(false, from, actor) || has(false, actor, from) || has(true, from, actor)
    }

    fn stand(&mut self, to: u8, actor: u8, name: String, about: About) {
        if !self.hidden(to, actor) {
            self.stands.insert((to, actor, name), about);
        }
    }

    fn number(user: &UserId) -> u8 {
        user.as_str()[1..].parse().unwrap()
    }

    pub async fn publish(
        &mut self,
        who: u8,
        reply_to: Option<usize>,
        repost_of: Option<usize>,
        mentions: u8,
    ) {
        let some = |place: Option<usize>| {
            place.and_then(|place| self.posts.get(place % self.posts.len().max(1))).cloned()
        };
        let (parent, original) = (some(reply_to), some(repost_of));
        // Twice by one person would be two acts of one actor.
        let original = original.filter(|original| {
            self.posts.iter().all(|post| post.author != person(who) || post.repost_of != Some(original.id))
        });
        self.minted += 1;
        let named: Vec<u8> =
            (0..PEOPLE).filter(|number| mentions & (1 << number) != 0 && mentions > 100).collect();
        let post = Post {
            id: self.mint(self.minted),
            author: person(who),
            kind: "post".into(),
            text: Some("text".into()),
            data: None,
            reply_to: parent.as_ref().map(|post| post.id),
            repost_of: original.as_ref().map(|post| post.id),
            mentions: named.iter().map(|number| person(*number)).collect(),
            visibility: Visibility::Public,
            attachments: None,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
            rev: 1,
            delivery: Delivery::Push,
            deleted: false,
        };
        self.feeds.writer.publish(&self.app, &post, None).await.unwrap();
        let name = format!("p/{}", post.id);
        let mut heard = BTreeSet::new();
        let parent = parent.map(|parent| (Self::number(&parent.author), ("reply", Some(post.id))));
        let mentions = named.into_iter().map(|number| (number, ("mention", Some(post.id))));
        let original =
            original.map(|original| (Self::number(&original.author), ("repost", Some(original.id))));
        for (to, about) in parent.into_iter().chain(mentions).chain(original) {
            if heard.insert(to) {
                self.stand(to, who, name.clone(), about);
            }
        }
        self.posts.push(post);
    }

    pub async fn delete(&mut self, place: usize) {
        let Some(post) = self.posts.get(place % self.posts.len().max(1)).cloned() else { return };
        self.feeds.writer.delete(&self.app, None, post.id).await.unwrap();
        let name = format!("p/{}", post.id);
        self.stands.retain(|act, _| act.2 != name);
    }

    pub async fn react(&mut self, who: u8, place: usize, kind: u8, active: bool) {
        let Some(post) = self.posts.get(place % self.posts.len().max(1)).cloned() else { return };
        let kind = format!("k{kind}");
        let changed = self.feeds.writer.react(&self.app, post.id, &person(who), &kind, active).await.unwrap();
        let (to, name) = (Self::number(&post.author), format!("r/{}/{kind}", post.id));
        match (changed, active) {
            (true, true) => self.stand(to, who, name, ("reaction", Some(post.id))),
            (true, false) => drop(self.stands.remove(&(to, who, name))),
            (false, _) => {}
        }
    }

    pub async fn follow(&mut self, who: u8, author: u8, active: bool) {
        if who == author {
            return;
        }
        let (user, target) = (person(who), person(author));
        let changed = if active {
            let authors = std::slice::from_ref(&target);
            let outcome = self.feeds.writer.follow(&self.app, &user, authors).await.unwrap();
            matches!(outcome, FollowOutcome::Followed(rows) if !rows.is_empty())
        } else {
            self.feeds.writer.unfollow(&self.app, &user, &target, false).await.unwrap()
        };
        if changed && active {
            self.stand(author, who, "f".into(), ("follow", None));
        } else if changed {
            self.stands.remove(&(author, who, "f".into()));
        }
    }

    pub async fn relate(&mut self, who: u8, target: u8, block: bool, active: bool) {
        if who == target {
            return;
        }
        let relation = if block { Relation::Block } else { Relation::Mute };
        self.feeds.writer.relate(&self.app, &person(who), relation, &person(target), active).await.unwrap();
        let row = (!block, who, target);
        if !active {
            self.relations.remove(&row);
        } else if self.relations.insert(row) {
            self.stands.retain(|(to, actor, _), _| {
                (*to, *actor) != (who, target) && !(block && (*to, *actor) == (target, who))
            });
        }
    }

    pub async fn mark(&mut self, who: u8, place: usize, how: u8) {
        let list = self.list(who).await;
        let Some(group) = list.get(place % list.len().max(1)) else { return };
        let mark = match how {
            0 => Mark::Seen(group.id),
            1 => Mark::Read(group.id),
            2 => Mark::ReadEach(vec![group.id]),
            _ => Mark::UnreadEach(vec![group.id]),
        };
        self.feeds.inbox.mark(&self.app, &person(who), &mark).await.unwrap();
    }

    async fn owed(&mut self) -> Vec<OutboxRow> {
        let mut rows = Vec::new();
        for slot in 0..SLOTS {
            rows.extend(self.stores.outbox.due(slot, UnixMs(u64::MAX - 1), 10_000).await.unwrap());
        }
        for row in &rows {
            if self.history.iter().all(|known| known.task != row.task) {
                self.history.push(row.clone());
            }
        }
        rows
    }

    /// Does a row's work to its end.
    async fn work(&self, row: OutboxRow) {
        let lane = Lane::of(&row.task);
        let received = Received { job: Job { row, after: None, lane }, attempt: 1, waited_ms: 0, ticket: 0 };
        self.feeds.worker.run_one(received).await;
        // Continuations.
        while let Some(received) = self.jobs.receive(Lane::Large).now_or_never() {
            self.feeds.worker.run_one(received.unwrap()).await;
        }
    }

    pub async fn job(&mut self, place: usize) {
        let rows = self.owed().await;
        if let Some(row) = rows.get(place % rows.len().max(1)) {
            self.work(row.clone()).await;
        }
    }

    pub async fn again(&mut self, place: usize) {
        if let Some(row) = self.history.get(place % self.history.len().max(1)) {
            self.work(row.clone()).await;
        }
    }

    /// Does all that is owed, in the order of slots, which is that of no act.
    pub async fn drain(&mut self) {
        loop {
            let rows = self.owed().await;
            if rows.is_empty() {
                return;
            }
            for row in rows {
                self.work(row).await;
            }
        }
    }

    pub async fn everything_again(&mut self) {
        for row in self.history.clone().into_iter().rev() {
            self.work(row).await;
        }
    }

    pub async fn list(&self, who: u8) -> Vec<Notification> {
        let now = self.clock.now();
        self.stores.inbox.list(&self.app, &person(who), None, 1_000, false, now).await.unwrap()
    }

    /// Each inbox has the acts that stand, each in one group, and counts what it shows.
    pub async fn compare(&self) {
        for who in 0..PEOPLE {
            let list = self.list(who).await;
            let mut found: Vec<(String, Option<PostId>, UserId)> = Vec::new();
            for group in &list {
                assert_eq!(group.actor_count, group.actors.len() as u64);
                assert!(group.actor_count > 0 && group.position >= group.id);
                found.extend(
                    group.actors.iter().map(|actor| (group.kind.clone(), group.subject, actor.clone())),
                );
            }
            found.sort();
            let of = self.stands.iter().filter(|((to, ..), _)| *to == who);
            let mut expected: Vec<_> = of
                .map(|((_, actor, _), (kind, subject))| ((*kind).to_owned(), *subject, person(*actor)))
                .collect();
            // Reactions of two kinds to one post are two groups.
            expected.sort();
            assert_eq!(found, expected, "{}", person(who));
            assert!(list.is_sorted_by(|one, other| one.position > other.position));
            let now = self.clock.now();
            let counts = self.stores.inbox.inbox_counts(&self.app, &person(who), now).await.unwrap();
            assert_eq!(counts.unread, list.iter().filter(|group| !group.read).count() as u64);
            assert_eq!(counts.unseen, list.iter().filter(|group| !group.seen).count() as u64);
        }
    }

    pub async fn open_log(&self, channel: &ScopedChannel) {
        let limits = LogLimits { size: 100, ttl_ms: u64::MAX / 4 };
        self.log.open(channel, limits, 7, self.clock.monotonic_ms()).await.unwrap();
    }

    pub async fn log(&self, channel: &ScopedChannel) -> Vec<(u64, Bytes)> {
        let read = self.log.since(channel, 0, 100, self.clock.monotonic_ms()).await.unwrap();
        read.unwrap().entries
    }
}
