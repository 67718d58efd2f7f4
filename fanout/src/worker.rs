//! Jobs: everything that an acknowledged write still owes. Each may run twice, by two workers at once, or stop anywhere:
//! the row goes last.

mod pages;
mod relations;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Delivery, Mode, ModeRecord, Post, Task};
use futures_util::FutureExt;

use self::pages::Page;
use crate::feed_cache::FeedEntry;
use crate::jobs::{Job, Lane, Received};
use crate::live::LiveEvent;
use crate::settings::Mutant;
use crate::shared::Shared;
use crate::{FanoutError, Result, events, plan};

/// The first wait before a job that failed is tried again, in milliseconds; it doubles each time.
const BACKOFF_MS: u64 = 100;
/// The longest.
const MAX_BACKOFF_MS: u64 = 30_000;

/// Does jobs. Cheap to clone; the server runs some in each lane.
#[derive(Clone)]
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
}

/// How far a job came.
pub(crate) enum Progress {
    /// Nothing is owed any more.
    Done,
    /// The rest is another message: followers after this one.
    Continue(UserId),
    /// It is too early.
    Later(u64),
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Receives one job of a lane and does it.
    pub async fn receive_one(&self, lane: Lane) -> Result<()> {
        let received = self.shared.jobs.receive(lane).await?;
        self.run_one(received).await;
        Ok(())
    }

    /// Does a job and answers the queue. What fails for now is tried again later, for as long as it takes; what fails for
    /// good is set aside after [`crate::Settings::attempts`].
    pub async fn run_one(&self, received: Received) {
        let Received { job, attempt, waited_ms, ticket } = received;
        self.note_lag(waited_ms);
        let worked = AssertUnwindSafe(self.work(&job)).catch_unwind().await;
        let answered = match worked {
            Ok(Ok(progress)) => self.answer(job, ticket, attempt, progress).await,
            Ok(Err(error)) if error.is_retryable() => {
                tracing::debug!(app = %job.row.app, %error, attempt, "job failed, tried again later");
                self.shared.jobs.nack(ticket, backoff_ms(attempt)).await
            }
            Ok(Err(error)) => self.give_up(&job, ticket, attempt, &error.to_string()).await,
            Err(_) => self.give_up(&job, ticket, attempt, "panicked").await,
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "the queue was not answered; the job comes again");
        }
    }

    /// Jobs that waited long are remembered for a while: the sweeper must not overtake them.
    fn note_lag(&self, waited_ms: u64) {
        let lag_ms = self.shared.lag_ms.load(Ordering::Relaxed);
        self.shared.lag_ms.store(waited_ms.max(lag_ms - lag_ms / 8), Ordering::Relaxed);
    }

    fn note_fanned_out(&self, post: PostId) {
        let [posts, ms] = &self.shared.fanned_out;
        posts.fetch_add(1, Ordering::Relaxed);
        ms.fetch_add(self.shared.clock.now().since(post.minted_at()), Ordering::Relaxed);
    }

    async fn answer(&self, job: Job, ticket: u64, attempt: u32, progress: Progress) -> Result<()> {
        let shared = &self.shared;
        match progress {
            Progress::Done => {
                let id = job.row.task.row_id();
                match shared.stores.outbox.mark_done(&job.row.app, &id).await {
                    Ok(()) => shared.jobs.ack(ticket).await,
                    Err(_) => shared.jobs.nack(ticket, backoff_ms(attempt)).await,
                }
            }
            Progress::Continue(after) => {
                let next = Job { after: Some(after), lane: job.lane.onward(), ..job };
                match shared.jobs.enqueue(next).await {
                    Ok(()) => shared.jobs.ack(ticket).await,
                    Err(_) => shared.jobs.nack(ticket, backoff_ms(attempt)).await,
                }
            }
            Progress::Later(wait_ms) => shared.jobs.nack(ticket, wait_ms).await,
        }
    }

    async fn give_up(&self, job: &Job, ticket: u64, attempt: u32, reason: &str) -> Result<()> {
        let shared = &self.shared;
        if attempt < shared.settings.attempts {
            return shared.jobs.nack(ticket, backoff_ms(attempt)).await;
        }
        let (app, id) = (&job.row.app, job.row.task.row_id());
        tracing::warn!(%app, row = %id.0, reason, "job set aside");
        shared.stores.outbox.quarantine(app, &id, reason).await?;
        shared.jobs.ack(ticket).await
    }

    async fn work(&self, job: &Job) -> Result<Progress> {
        let app = &job.row.app;
        match &job.row.task {
            Task::FanOut { post, author } => {
                let progress = self.fan_out(job, *post, author).await?;
                if matches!(progress, Progress::Done) {
                    self.note_fanned_out(*post);
                }
                if job.after.is_none() {
                    self.notify_post(&job.row, *post).await?;
                }
                Ok(progress)
            }
            Task::PostUpdated { post, author, rev } => {
                let Some(post) = self.post(app, *post).await? else { return Ok(Progress::Done) };
                // A later edit has a row of its own, and so has a deletion.
                if post.deleted || post.rev != *rev {
                    return Ok(Progress::Done);
                }
                self.live_only(job, author, &events::updated(&job.row, &post)).await
            }
            Task::PostDeleted { post, author, mentions } => {
                let Some(post) = self.post(app, *post).await? else { return Ok(Progress::Done) };
                if job.after.is_none() {
                    self.unnotify_post(&job.row, &post, mentions).await?;
                }
                self.live_only(job, author, &events::deleted(&job.row, &post)).await
            }
            Task::Backfill { follower, author, version } => {
                let progress = self.backfill(&job.row, follower, author).await?;
                self.notify_follow(&job.row, follower, author, true, *version).await?;
                Ok(progress)
            }
            Task::Cleanup { follower, author, version } => {
                self.notify_follow(&job.row, follower, author, false, *version).await?;
                self.cleanup(&job.row, follower, author, *version).await
            }
            Task::RelationChanged { user, relation, target, active, .. } => {
                self.relation_changed(&job.row, user, *relation, target, *active).await
            }
            Task::Reacted { .. } => self.notify_reaction(&job.row).await,
            Task::Notify { dispatch, .. } => self.notify_dispatch(job, *dispatch).await,
            Task::InboxChanged { user, groups, .. } => {
                let name = format!("i/{}", job.row.task.row_id().0);
                self.shared.tell_marked(app, user, groups, &name).await?;
                Ok(Progress::Done)
            }
            Task::Drain { author, version } => self.drain(job, author, *version).await,
        }
    }

    /// The post as it is now: not from a cache, because what was deleted must not be handed out any more.
    pub(crate) async fn post(&self, app: &AppId, id: PostId) -> Result<Option<Post>> {
        Ok(self.shared.stores.posts.get_many(app, &[id]).await?.pop().flatten())
    }

    async fn fan_out(&self, job: &Job, id: PostId, author: &UserId) -> Result<Progress> {
        let (shared, app) = (&self.shared, &job.row.app);
        let Some(post) = self.post(app, id).await?.filter(|post| !post.deleted) else {
            return Ok(Progress::Done);
        };
        let event = events::created(&job.row, &post);
        let mut copy = true;
        if post.delivery == Delivery::Push && job.after.is_none() {
            // Followers that came by an import, and marks that were moved, are noticed here.
            shared.modes.check(app, author).await?;
        }
        if post.delivery == Delivery::Pull {
            let record = shared.modes.record(app, author).await?;
            let now = shared.clock.now();
            // Readers find it themselves only if every one of them has heard of the celebrity.
            copy = !plan::readers_know(record.as_ref(), now, &shared.settings)
                && !shared.settings.planted(Mutant::DrainNoRecheck);
            let to_each = plan::live_ways(record.as_ref(), now, &shared.settings).1;
            if job.after.is_none() {
                shared.delivery.to_author_channel(app, author, &event).await?;
            }
            if !copy && !to_each {
                return self.author_only(app, author, &event).await;
            }
        }
        let entries = [FeedEntry { id, author: author.clone() }];
        let entries = if copy { &entries[..] } else { &[] };
        self.page(Page { job, author, entries, event: Some(&event), and_author: true }).await
    }

    /// An event of a post that is in feeds already, or is not any more.
    async fn live_only(&self, job: &Job, author: &UserId, event: &LiveEvent) -> Result<Progress> {
        let (shared, app) = (&self.shared, &job.row.app);
        let record = shared.modes.record(app, author).await?;
        let (shared_channel, to_each) =
            plan::live_ways(record.as_ref(), shared.clock.now(), &shared.settings);
        if shared_channel && job.after.is_none() {
            shared.delivery.to_author_channel(app, author, event).await?;
        }
        if !to_each {
            return self.author_only(app, author, event).await;
        }
        self.page(Page { job, author, entries: &[], event: Some(event), and_author: true }).await
    }

    /// The author's own devices listen to their user's channel only.
    async fn author_only(&self, app: &AppId, author: &UserId, event: &LiveEvent) -> Result<Progress> {
        self.shared.delivery.to_users(app, event, std::slice::from_ref(author)).await?;
        Ok(Progress::Done)
    }

    /// The way back from pull to push: the newest pull posts go into feeds, then readers need not merge them any more.
    async fn drain(&self, job: &Job, author: &UserId, version: u64) -> Result<Progress> {
        let (shared, app) = (&self.shared, &job.row.app);
        let mine = |record: &Option<ModeRecord>| {
            record.as_ref().is_some_and(|at| at.mode == Mode::Draining && at.version == version)
        };
        if !mine(&shared.modes.record(app, author).await?) {
            return Ok(Progress::Done);
        }
        let (newest, first) = (shared.feeds.hot_cap(), PostId::ZERO);
        let ids = shared.rows.newest(app, author, PostId::MAX, newest, first, true).await?;
        let entries: Vec<_> = ids.into_iter().map(|id| FeedEntry { id, author: author.clone() }).collect();
        let page = Page { job, author, entries: &entries, event: None, and_author: false };
        let progress = self.page(page).await?;
        if matches!(progress, Progress::Done) {
            let record = shared.modes.record(app, author).await?;
            let pinned = record.as_ref().is_some_and(|record| record.pinned);
            if mine(&record) || shared.settings.planted(Mutant::DrainUnconditional) {
                shared.modes.set(app, author, record.as_ref(), Mode::Push, pinned).await?;
            }
        }
        Ok(progress)
    }
}

impl Worker {
    /// What was written counts only if it went to the feed cache that rebuilds and readers use by now.
    async fn check_generation(&self, written_to: u64) -> Result<()> {
        let newer = self.shared.feeds.generation().await? > written_to;
        if newer && !self.shared.settings.planted(Mutant::GenerationIgnored) {
            return Err(FanoutError::Generation);
        }
        Ok(())
    }
}

/// How long to wait after so many attempts.
fn backoff_ms(attempt: u32) -> u64 {
    let doublings = attempt.saturating_sub(1).min(20);
    (BACKOFF_MS << doublings).min(MAX_BACKOFF_MS)
}
