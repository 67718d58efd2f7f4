//! The tasks of a process, by role. A task that ends before it is told to fails the process: half a server is worse
//! than none, and whatever restarts processes restarts this one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fama_fanout::jobs::Lane;
use fama_fanout::live::{BEAT_MS, Delivery};
use fama_fanout::{Clock, Feeds, JobQueue};
use fama_storage::Stores;
use fama_storage::outbox::SLOTS;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::backends::Upkeep;
use crate::ids::{Minter, RENEW_MS};
use crate::role::Role;

/// Feeds built anew at once.
const REBUILDERS: usize = 4;
/// Urgent sends at once.
const URGENT_WORKERS: usize = 4;
/// Bulk sends at once: few, so that the disk is there for others.
const BULK_WORKERS: usize = 1;
/// Between two rounds of telling devices what had to wait.
const TELL_MS: u64 = 250;
/// Between two rounds of removing notifications that ended.
const INBOX_MS: u64 = 2_000;
/// Between two sweeps of the outbox.
const SWEEP_MS: u64 = 5_000;
/// Between two looks at who is a celebrity. Readers' lists may be 5 s old.
const MODES_MS: u64 = 2_000;
/// Between two sweeps of what only backends know.
const UPKEEP_MS: u64 = 5_000;
/// Between two rounds of forgetting feeds and answers.
const EXPIRE_MS: u64 = 60_000;
/// Forgotten at once.
const EXPIRE_BATCH: usize = 1_000;
/// After a failed round.
const PAUSE_MS: u64 = 1_000;

/// Running tasks.
pub struct Supervisor {
    tasks: JoinSet<&'static str>,
    stop: watch::Sender<bool>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), stop: watch::Sender::new(false) }
    }
}

impl Supervisor {
    /// Starts a task that runs until it is told to stop: it is given what tells it.
    pub fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(self.stop.subscribe());
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that does the same again and again; it may be dropped at any await.
    pub fn repeat<F>(&mut self, name: &'static str, mut round: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(name, |mut stop| async move {
            loop {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = round() => {}
                }
            }
        });
    }

    /// Starts a task whose rounds are finished also when it is told to stop in between.
    fn repeat_whole<F>(
        &mut self,
        name: &'static str,
        clock: &Arc<dyn Clock>,
        every_ms: u64,
        mut round: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let clock = Arc::clone(clock);
        self.spawn(name, move |mut stop| async move {
            while !*stop.borrow() {
                round().await;
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = clock.sleep(every_ms) => {}
                }
            }
        });
    }

    /// Waits for a task that ends early, or panics; its name. Pends for ever while there is none.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(name)) => format!("the task `{name}` ended"),
            Some(Err(error)) => format!("a task failed: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Tells all tasks to stop and waits for them, at most so long; what is left is dropped.
    pub async fn stop(mut self, most: Duration) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(most, all).await.is_err() {
            tracing::warn!("some tasks did not stop in time and are dropped");
        }
    }
}

/// What tasks work with.
pub struct Parts {
    /// The truth.
    pub stores: Stores,
    /// Feeds.
    pub feeds: Feeds,
    /// Work for the workers.
    pub jobs: Arc<dyn JobQueue>,
    /// Messages to nodes.
    pub delivery: Arc<Delivery>,
    /// Ids of posts.
    pub minter: Arc<Minter>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What only some backends need done.
    pub upkeep: Arc<dyn Upkeep>,
    /// Jobs at once of authors with few followers, and of those with many.
    pub workers: (usize, usize),
}

/// Starts the tasks of the roles.
pub fn start(supervisor: &mut Supervisor, roles: &[Role], parts: &Parts) {
    start_common(supervisor, parts);
    if roles.contains(&Role::Fanout) {
        start_fanout(supervisor, parts);
    }
    if roles.contains(&Role::Janitor) {
        start_janitor(supervisor, parts);
    }
}

/// What every process does: keeps its number, tells who it sent to, knows the celebrities.
fn start_common(supervisor: &mut Supervisor, parts: &Parts) {
    let clock = &parts.clock;
    let (minter, sleeper) = (Arc::clone(&parts.minter), Arc::clone(clock));
    supervisor.spawn("node number", move |mut stop| async move {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleeper.sleep(RENEW_MS) => {}
            }
            match minter.renew().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!("another process holds this node's number");
                    return;
                }
                Err(error) => tracing::warn!(%error, "the node number could not be renewed; trying again"),
            }
        }
    });
    let delivery = Arc::clone(&parts.delivery);
    supervisor.repeat_whole("beats", clock, BEAT_MS, move || {
        let delivery = Arc::clone(&delivery);
        async move { delivery.beat_once().await }
    });
    let feeds = parts.feeds.clone();
    supervisor.repeat_whole("modes", clock, MODES_MS, move || {
        let feeds = feeds.clone();
        async move {
            if let Err(error) = feeds.modes.reconcile_all().await {
                tracing::warn!(%error, "modes of authors could not be compared; trying again");
            }
        }
    });
    let (upkeep, time) = (Arc::clone(&parts.upkeep), Arc::clone(clock));
    supervisor.repeat_whole("upkeep", clock, UPKEEP_MS, move || {
        let (upkeep, time) = (Arc::clone(&upkeep), Arc::clone(&time));
        async move { upkeep.sweep(time.monotonic_ms()) }
    });
}

fn start_fanout(supervisor: &mut Supervisor, parts: &Parts) {
    let lanes = [
        (Lane::Small, parts.workers.0, "small jobs"),
        (Lane::Large, parts.workers.1, "large jobs"),
        (Lane::Urgent, URGENT_WORKERS, "urgent jobs"),
        (Lane::Bulk, BULK_WORKERS, "bulk jobs"),
    ];
    for (lane, count, name) in lanes {
        for _ in 0..count {
            let (feeds, jobs) = (parts.feeds.clone(), Arc::clone(&parts.jobs));
            let clock = Arc::clone(&parts.clock);
            supervisor.spawn(name, move |stop| work(feeds, jobs, clock, lane, stop));
        }
    }
    let feeds = parts.feeds.clone();
    supervisor.repeat_whole("inbox telling", &parts.clock, TELL_MS, move || {
        let feeds = feeds.clone();
        async move { feeds.inbox.tell_waiting().await }
    });
    for _ in 0..REBUILDERS {
        let (feeds, clock) = (parts.feeds.clone(), Arc::clone(&parts.clock));
        supervisor.repeat("rebuilds", move || {
            let (feeds, clock) = (feeds.clone(), Arc::clone(&clock));
            async move {
                if let Err(error) = feeds.rebuild_one().await {
                    tracing::warn!(%error, "a feed could not be built; readers ask again");
                    clock.sleep(PAUSE_MS).await;
                }
            }
        });
    }
}

/// Jobs under way are finished, those that wait stay in the outbox.
async fn work(
    feeds: Feeds,
    jobs: Arc<dyn JobQueue>,
    clock: Arc<dyn Clock>,
    lane: Lane,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let received = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            received = jobs.receive(lane) => received,
        };
        match received {
            Ok(received) => feeds.worker.run_one(received).await,
            Err(error) => {
                tracing::warn!(%error, "no job could be received; trying again");
                clock.sleep(PAUSE_MS).await;
            }
        }
    }
}

fn start_janitor(supervisor: &mut Supervisor, parts: &Parts) {
    let (feeds, recovered) = (parts.feeds.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    supervisor.repeat_whole("outbox sweep", &parts.clock, SWEEP_MS, move || {
        let (feeds, recovered) = (feeds.clone(), Arc::clone(&recovered));
        async move { sweep(&feeds, &recovered).await }
    });
    let feeds = parts.feeds.clone();
    supervisor.repeat_whole("inbox expiry", &parts.clock, INBOX_MS, move || {
        let feeds = feeds.clone();
        async move { while let Ok(true) = feeds.inbox.expire(EXPIRE_BATCH).await {} }
    });
    let (stores, feeds, time) = (parts.stores.clone(), parts.feeds.clone(), Arc::clone(&parts.clock));
    supervisor.repeat_whole("expiry", &parts.clock, EXPIRE_MS, move || {
        let (stores, feeds, now) = (stores.clone(), feeds.clone(), time.now());
        async move {
            while let Ok(EXPIRE_BATCH..) = feeds.expire_feeds(EXPIRE_BATCH).await {}
            while let Ok(EXPIRE_BATCH..) = stores.idempotency.expire(now, EXPIRE_BATCH).await {}
        }
    });
}

/// The first sweeps hand out everything owed: what an earlier process had queued is lost with it.
async fn sweep(feeds: &Feeds, recovered: &std::sync::atomic::AtomicBool) {
    use std::sync::atomic::Ordering;
    let is_first = !recovered.load(Ordering::Relaxed);
    let mut complete = true;
    for slot in 0..SLOTS {
        let swept =
            if is_first { feeds.sweeper.recover(slot).await } else { feeds.sweeper.sweep_once(slot).await };
        match swept {
            Ok(swept) => complete &= !swept.full,
            Err(error) => {
                complete = false;
                tracing::warn!(%error, slot, "the outbox could not be swept; trying again");
            }
        }
    }
    if is_first && complete {
        recovered.store(true, Ordering::Relaxed);
    }
}
