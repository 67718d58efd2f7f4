//! Which authors are celebrities. Every node has a list that is at most [`Settings::staleness_ms`] old; changes wait
//! that long before anything relies on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fama_protocol::{AppId, UserId};
use fama_storage::{Delivery, Mode, ModeRecord, Stores};
use futures_util::FutureExt;

use crate::cache::Cache;
use crate::jobs::{Job, Lane};
use crate::{Clock, JobQueue, Result, Settings, plan};

/// How often an author is tried to be unpinned before somebody else's changes are told.
const UNPIN_TRIES: usize = 5;

/// All authors of an app whose pull posts readers merge.
#[derive(Debug, Default)]
pub struct CelebrityList {
    /// Tells lists apart.
    pub(crate) number: u64,
    /// By author: those in [`Mode::Pull`] and [`Mode::Draining`].
    pub authors: BTreeMap<UserId, ModeRecord>,
}

/// Author modes, cached.
pub struct Modes {
    stores: Stores,
    jobs: Arc<dyn JobQueue>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    lists: Cache<AppId, Arc<CelebrityList>>,
    numbers: Arc<AtomicU64>,
}

impl Modes {
    pub(crate) fn new(
        stores: Stores,
        jobs: Arc<dyn JobQueue>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
    ) -> Self {
        // As many lists as there are apps; each app's is bounded by its celebrities.
        let lists = Cache::new(256 << 20, |list: &Arc<CelebrityList>| 160 * list.authors.len());
        Self { stores, jobs, clock, settings, lists, numbers: Arc::default() }
    }

    /// The celebrities of an app, as they were at most [`Settings::staleness_ms`] ago.
    pub async fn celebrities(&self, app: &AppId) -> Result<Arc<CelebrityList>> {
        self.list(app, self.settings.staleness_ms).await
    }

    async fn list(&self, app: &AppId, age_ms: u64) -> Result<Arc<CelebrityList>> {
        let now_ms = self.clock.monotonic_ms();
        let load = || {
            let (modes, app, numbers) =
                (Arc::clone(&self.stores.modes), app.clone(), Arc::clone(&self.numbers));
            async move {
                let records = modes.celebrities(&app).await?;
                let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
                let authors = records.into_iter().map(|record| (record.author.clone(), record)).collect();
                Ok(Arc::new(CelebrityList { number, authors }))
            }
            .boxed()
        };
        let fresh = |at: u64| now_ms.saturating_sub(at) <= age_ms;
        self.lists.get_or_load(app, now_ms, fresh, load).await
    }

    /// How a post that is published now is delivered.
    pub async fn delivery(&self, app: &AppId, author: &UserId) -> Result<Delivery> {
        let list = self.celebrities(app).await?;
        Ok(plan::delivery(list.authors.get(author), self.clock.now(), &self.settings))
    }

    /// An author's mode, by the list.
    pub async fn mode(&self, app: &AppId, author: &UserId) -> Result<Mode> {
        let list = self.celebrities(app).await?;
        Ok(list.authors.get(author).map_or(Mode::Push, |record| record.mode))
    }

    /// An author's record, read at quorum. `None`: push, not pinned.
    pub async fn record(&self, app: &AppId, author: &UserId) -> Result<Option<ModeRecord>> {
        Ok(self.stores.modes.mode(app, author).await?)
    }

    /// Compares an author's follower count with the marks, and changes the mode if it is time. `true`: it changed.
    pub async fn check(&self, app: &AppId, author: &UserId) -> Result<bool> {
        let followers = self.stores.graph.counts(app, author).await?.followers;
        let record = self.record(app, author).await?;
        let next = plan::next_mode(record.as_ref(), followers, self.clock.now(), &self.settings);
        match next {
            Some(mode) => Ok(self.set(app, author, record.as_ref(), mode, false).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Reads the list anew and moves the celebrities whose time has come. To be called at least every
    /// [`Settings::staleness_ms`] for each app; readers that come before the first list wait for it.
    pub async fn reconcile_once(&self, app: &AppId) -> Result<()> {
        let list = self.list(app, self.settings.staleness_ms / 2).await?;
        let now = self.clock.now();
        for record in list.authors.values() {
            // The dwell first: it costs no read.
            if plan::next_mode(Some(record), 0, now, &self.settings).is_some() {
                self.check(app, &record.author).await?;
            }
        }
        Ok(())
    }

    /// [`Modes::reconcile_once`] for every app. An app that fails does not hold up the others; the first error is told.
    pub async fn reconcile_all(&self) -> Result<()> {
        let mut result = Ok(());
        for app in self.stores.modes.apps().await? {
            result = result.and(self.reconcile_once(&app).await);
        }
        result
    }

    /// Pins an author to push or pull ([`Mode::Draining`] counts as push), whatever the follower count: an operator's
    /// act. From pull to push the author drains first. `None`: somebody else changed the mode in the meantime.
    pub async fn pin(&self, app: &AppId, author: &UserId, mode: Mode) -> Result<Option<ModeRecord>> {
        let record = self.record(app, author).await?;
        let now_in = record.as_ref().map_or(Mode::Push, |record| record.mode);
        let next = match (mode, now_in) {
            (Mode::Pull, _) => Mode::Pull,
            (Mode::Push | Mode::Draining, Mode::Push) => Mode::Push,
            (Mode::Push | Mode::Draining, Mode::Pull | Mode::Draining) => Mode::Draining,
        };
        self.set(app, author, record.as_ref(), next, true).await
    }

    /// Lets the follower count decide again, from the mode the author is in. `false`: somebody else changed the mode
    /// again and again in the meantime. A drain that ends is such a change, so it is tried more than once.
    pub async fn unpin(&self, app: &AppId, author: &UserId) -> Result<bool> {
        for _ in 0..UNPIN_TRIES {
            match self.record(app, author).await? {
                Some(record) if record.pinned => {
                    if self.set(app, author, Some(&record), record.mode, false).await?.is_some() {
                        return Ok(true);
                    }
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    pub(crate) async fn set(
        &self,
        app: &AppId,
        author: &UserId,
        record: Option<&ModeRecord>,
        mode: Mode,
        pinned: bool,
    ) -> Result<Option<ModeRecord>> {
        let expected = record.map_or(0, |record| record.version);
        let now = self.clock.now();
        let set = self.stores.modes.set_mode(app, author, expected, mode, pinned, now).await;
        self.lists.invalidate(app);
        let Some((record, row)) = set? else { return Ok(None) };
        tracing::info!(%app, %author, ?mode, pinned, "author mode changed");
        if let Some(row) = row {
            let job = Job { lane: Lane::of(&row.task), row, after: None };
            // A full queue leaves the row to the sweeper.
            if let Err(error) = self.jobs.enqueue(job).await {
                tracing::debug!(%error, "drain left to the sweeper");
            }
        }
        Ok(Some(record))
    }
}
