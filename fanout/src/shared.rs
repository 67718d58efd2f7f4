//! What the parts of one process have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{OutboxRow, Stores};

use crate::context::Contexts;
use crate::freshness::Freshness;
use crate::hydrate::Bodies;
use crate::jobs::{Job, Lane};
use crate::live::Delivery;
use crate::modes::Modes;
use crate::notify::{Inbox, LOCKS, LiveRate};
use crate::on_read::Reader;
use crate::on_write::Writer;
use crate::rebuild::Rebuilds;
use crate::rows::Rows;
use crate::sweeper::Sweeper;
use crate::worker::Worker;
use crate::{Clock, FeedCache, JobQueue, Result, Settings};

/// What feeds are made from.
#[derive(Clone)]
pub struct Deps {
    /// The truth.
    pub stores: Stores,
    /// Feeds.
    pub feeds: Arc<dyn FeedCache>,
    /// Work for the workers.
    pub jobs: Arc<dyn JobQueue>,
    /// To the sockets.
    pub delivery: Arc<Delivery>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Limits and times.
    pub settings: Settings,
}

/// The feeds of one process, by what one does with them. All parts share their caches: what is written here is seen by
/// the next read here.
#[derive(Clone)]
pub struct Feeds {
    /// Publishing, following, blocking.
    pub writer: Writer,
    /// Pages and posts.
    pub reader: Reader,
    /// Fan-out, backfill and the rest of the jobs.
    pub worker: Worker,
    /// Work that was left undone.
    pub sweeper: Sweeper,
    /// Who is a celebrity.
    pub modes: Arc<Modes>,
    /// Feeds to be made anew.
    pub rebuilds: Arc<Rebuilds>,
    /// Notifications.
    pub inbox: Inbox,
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) stores: Stores,
    pub(crate) feeds: Arc<dyn FeedCache>,
    pub(crate) jobs: Arc<dyn JobQueue>,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) contexts: Contexts,
    pub(crate) bodies: Bodies,
    pub(crate) rows: Rows,
    pub(crate) modes: Arc<Modes>,
    pub(crate) rebuilds: Arc<Rebuilds>,
    /// How long jobs waited of late, in milliseconds.
    pub(crate) lag_ms: AtomicU64,
    /// Posts whose last follower has been served, and how long that took in all, in milliseconds.
    pub(crate) fanned_out: [AtomicU64; 2],
    /// How often devices are told of notifications.
    pub(crate) live_rate: LiveRate,
    /// One at a time tells a user's devices of notifications; users share these.
    pub(crate) telling: Vec<futures_util::lock::Mutex<()>>,
    /// By app: nobody is notified of acts up to this time.
    pub(crate) quiet_until: Mutex<HashMap<AppId, u64>>,
}

impl Feeds {
    /// Puts the parts together. Nothing runs by itself: the caller drives jobs, sweeping, reconciling and rebuilds.
    pub fn new(deps: Deps) -> Self {
        let Deps { stores, feeds, jobs, delivery, clock, settings } = deps;
        let settings = Arc::new(settings);
        let freshness = Arc::new(Freshness::new(Arc::clone(&clock), &settings));
        let modes = Arc::new(Modes::new(
            stores.clone(),
            Arc::clone(&jobs),
            Arc::clone(&clock),
            Arc::clone(&settings),
        ));
        let rebuilds =
            Arc::new(Rebuilds::new(Arc::clone(&clock), settings.rebuild_queue, settings.rebuilds_per_second));
        let shared = Arc::new(Shared {
            contexts: Contexts::new(stores.clone(), Arc::clone(&clock), Arc::clone(&freshness), &settings),
            bodies: Bodies::new(
                Arc::clone(&stores.posts),
                Arc::clone(&clock),
                Arc::clone(&freshness),
                &settings,
            ),
            rows: Rows::new(
                Arc::clone(&stores.posts),
                Arc::clone(&clock),
                Arc::clone(&settings),
                feeds.hot_cap(),
            ),
            modes: Arc::clone(&modes),
            rebuilds: Arc::clone(&rebuilds),
            lag_ms: AtomicU64::new(0),
            fanned_out: Default::default(),
            live_rate: LiveRate::default(),
            telling: std::iter::repeat_with(Default::default).take(LOCKS).collect(),
            quiet_until: Mutex::default(),
            stores,
            feeds,
            jobs,
            delivery,
            clock,
            settings,
            freshness,
        });
        Self {
            writer: Writer::new(Arc::clone(&shared)),
            reader: Reader::new(Arc::clone(&shared)),
            worker: Worker::new(Arc::clone(&shared)),
            sweeper: Sweeper::new(Arc::clone(&shared)),
            modes,
            rebuilds,
            inbox: Inbox::new(Arc::clone(&shared)),
            shared,
        }
    }

    /// Waits for the next rebuild that may begin, and does it. Dropped halfway, the feed is rebuilt later.
    pub async fn rebuild_one(&self) -> Result<bool> {
        let (app, user) = self.rebuilds.next().await;
        crate::rebuild::rebuild(&self.shared, &app, &user).await
    }

    /// Drops feeds that nobody read for [`Settings::active_days`], at most `limit`; how many.
    pub async fn expire_feeds(&self, limit: usize) -> Result<usize> {
        let idle_ms = self.shared.settings.active_days.saturating_mul(86_400_000);
        match self.shared.clock.monotonic_ms().checked_sub(idle_ms) {
            Some(before_ms) => self.shared.feeds.expire(before_ms, limit).await,
            None => Ok(0),
        }
    }

    /// How long jobs waited of late, in milliseconds.
    pub fn lag_ms(&self) -> u64 {
        self.shared.lag_ms.load(Ordering::Relaxed)
    }

    /// Posts whose last follower has been served since the start, and how long after their publishing that was, added
    /// up, in milliseconds.
    pub fn fanned_out(&self) -> (u64, u64) {
        let [posts, ms] = &self.shared.fanned_out;
        (posts.load(Ordering::Relaxed), ms.load(Ordering::Relaxed))
    }

    /// Forgets what is kept of a user's relations: for writes that go past [`Feeds::writer`].
    pub fn forget_user(&self, app: &AppId, user: &UserId) {
        self.shared.contexts.forget(app, user);
    }

    /// Forgets what is kept of a post: for writes that go past [`Feeds::writer`].
    pub fn forget_post(&self, post: PostId) {
        self.shared.bodies.forget(post);
    }
}

impl Shared {
    /// Hands a row's work to the queue. If that fails the sweeper does it.
    pub(crate) async fn enqueue(&self, row: OutboxRow) {
        let job = Job { lane: Lane::of(&row.task), row, after: None };
        if let Err(error) = self.jobs.enqueue(job).await {
            tracing::debug!(%error, "job left to the sweeper");
        }
    }

    /// Posts at or below this id are in no feed any more.
    pub(crate) fn retention(&self) -> PostId {
        let kept_ms = self.settings.retention_days.saturating_mul(86_400_000);
        let since = fama_protocol::UnixMs(self.clock.now().0.saturating_sub(kept_ms));
        if since <= PostId::EPOCH { PostId::ZERO } else { PostId::floor_of(since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers run these on threads of their own.
    #[allow(dead_code, reason = "that it compiles is the test")]
    fn futures_can_be_sent(feeds: &'static Feeds, app: &'static AppId, user: &'static UserId, post: PostId) {
        fn send<T: Send>(_: T) {}
        send(feeds.reader.page(app, user, None, 20));
        send(feeds.reader.posts(app, Some(user), &[]));
        send(feeds.reader.visible(app, Some(user), Vec::new()));
        send(feeds.writer.follow(app, user, &[]));
        send(feeds.writer.unfollow(app, user, user, false));
        send(feeds.writer.relate(app, user, fama_storage::Relation::Mute, user, true));
        send(feeds.writer.delete(app, None, post));
        send(feeds.worker.receive_one(Lane::Small));
        send(feeds.sweeper.sweep_once(0));
        send(feeds.modes.reconcile_all());
        send(feeds.modes.pin(app, user, fama_storage::Mode::Pull));
        send(feeds.rebuild_one());
        send(feeds.expire_feeds(1));
        send(feeds.inbox.page(app, user, None, 20, true));
        send(feeds.inbox.archive(app, user, post));
        send(feeds.inbox.tell_waiting());
        send(feeds.inbox.expire(1));
    }
}
