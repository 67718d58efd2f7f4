//! One page of an author's followers.

use fama_protocol::{AppId, UserId};
use fama_storage::Follower;

use super::{Progress, Worker};
use crate::Result;
use crate::feed_cache::FeedEntry;
use crate::jobs::{Job, Lane};
use crate::live::LiveEvent;
use crate::settings::Mutant;

/// Entries in one call to the feed cache.
const ENTRIES: usize = 1_000;

/// What goes to each follower.
pub(super) struct Page<'a> {
    pub(super) job: &'a Job,
    pub(super) author: &'a UserId,
    /// Into the feed.
    pub(super) entries: &'a [FeedEntry],
    /// To the devices.
    pub(super) event: Option<&'a LiveEvent>,
    /// To the author as well: what was sent when the post was written may have failed.
    pub(super) and_author: bool,
}

impl Worker {
    /// Serves a page of followers: feeds first, then devices, whose log may be read by a client that reads the feed next.
    pub(super) async fn page(&self, page: Page<'_>) -> Result<Progress> {
        let Page { job, author, entries, event, and_author } = page;
        let (shared, app) = (&self.shared, &job.row.app);
        let limit = shared.settings.page.clamp(1, 2_000);
        let read_ms = shared.clock.monotonic_ms();
        let mut followers = shared.stores.graph.followers(app, author, job.after.as_ref(), limit + 1).await?;
        let more = followers.len() > limit;
        followers.truncate(limit);
        let next = followers.last().filter(|_| more).map(|follower| follower.user.clone());
        if let (Some(next), true) = (&next, shared.settings.planted(Mutant::ContinueEarly)) {
            let job = Job { after: Some(next.clone()), lane: Lane::Large, ..job.clone() };
            shared.jobs.enqueue(job).await?;
        }
        let mut users: Vec<UserId> = followers.into_iter().map(|Follower { user, .. }| user).collect();
        if and_author && job.after.is_none() {
            users.push(author.clone());
        }
        let written_to = self.add(app, &users, entries).await?;
        if let Some(event) = event {
            self.send(app, author, event, users, read_ms).await?;
        }
        if let Some(generation) = written_to {
            self.check_generation(generation).await?;
        }
        Ok(next.map_or(Progress::Done, Progress::Continue))
    }

    /// Adds entries to feeds. The oldest generation that was written to, if anything was.
    pub(super) async fn add(
        &self,
        app: &AppId,
        users: &[UserId],
        entries: &[FeedEntry],
    ) -> Result<Option<u64>> {
        let mut oldest: Option<u64> = None;
        for users in users.chunks(self.shared.settings.pipeline.clamp(1, 128)) {
            for entries in entries.chunks(ENTRIES) {
                let generation = self.shared.feeds.add_to_many(app, users, entries).await?;
                oldest = Some(oldest.map_or(generation, |oldest| oldest.min(generation)));
            }
        }
        Ok(oldest)
    }

    /// Sends an event. Followers that were read a while ago are checked once more: nothing is pushed a second after an
    /// unfollow.
    async fn send(
        &self,
        app: &AppId,
        author: &UserId,
        event: &LiveEvent,
        mut users: Vec<UserId>,
        read_ms: u64,
    ) -> Result<()> {
        let shared = &self.shared;
        let age_ms = shared.clock.monotonic_ms().saturating_sub(read_ms);
        if age_ms > shared.settings.recheck_ms {
            let edges = shared.stores.graph.edges_to(app, &users, author).await?;
            let mut edges = edges.into_iter();
            users.retain(|user| {
                let edge = edges.next().flatten();
                user == author || edge.is_some_and(|edge| edge.until.is_none())
            });
        }
        shared.delivery.to_users(app, event, &users).await
    }
}
