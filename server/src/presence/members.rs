//! Who is in the app's channels: from shards to the backend, and back to whoever asks or wants to hear.
//!
//! Only connections in namespaces with `presence` or `join_leave` come here; the others cost nothing. Shards say who came
//! and left; one task tells the backend, in order, so that nobody leaves before having come. Whoever asks waits until the
//! backend knows what was said before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fama_presence::{BackendError, Changes, Member, MemberChange, MemberCounts};
use fama_protocol::ScopedChannel;
use metrics::counter;
use tokio::sync::{Notify, watch};

use super::{Presence, Result, lock};

/// Members told in one call.
const BATCH: usize = 1_000;
/// After a call that failed.
const PAUSE_MS: u64 = 200;
/// How long to wait for what was said before. Clients give up after 5 s.
const WAIT: Duration = Duration::from_secs(1);
/// Members of a channel that are listed at once.
pub const LISTED: usize = 1_000;

/// What waits to be told.
#[derive(Debug)]
pub(super) struct Members {
    changes: Mutex<Changes>,
    pushed: Notify,
    /// How many changes the backend knows.
    known: watch::Sender<u64>,
}

impl Default for Members {
    fn default() -> Self {
        Self { changes: Mutex::default(), pushed: Notify::new(), known: watch::Sender::new(0) }
    }
}

impl Presence {
    /// A connection came into a channel, or left it.
    pub fn member(&self, change: MemberChange) {
        lock(&self.members.changes).push(change);
        self.members.pushed.notify_one();
    }

    /// Who is there is said again, because the backend lost it.
    pub fn member_again(&self, change: MemberChange) {
        lock(&self.members.changes).say_again(change);
        self.members.pushed.notify_one();
    }

    /// Tells the backend, again and again. Runs until it is dropped.
    pub(super) async fn tell_members(self: Arc<Self>) {
        loop {
            while self.tell_some().await {}
            self.members.pushed.notified().await;
        }
    }

    /// `true`: there may be more.
    async fn tell_some(&self) -> bool {
        let batch = lock(&self.members.changes).tell(BATCH);
        if batch.is_empty() {
            return false;
        }
        match self.deps.backend.change_members(&self.deps.node, &batch).await {
            Ok(refused) => {
                if refused > 0 {
                    counter!("fama_presence_members_refused_total").increment(refused as u64);
                    tracing::warn!(refused, "too many are in channels: these are not listed there");
                }
                let mut changes = lock(&self.members.changes);
                changes.told();
                self.members.known.send_replace(changes.known());
            }
            Err(error) => {
                tracing::warn!(%error, "who came into channels and left is not told, again soon");
                self.deps.clock.sleep(PAUSE_MS).await;
            }
        }
        true
    }

    /// Waits until the backend knows what was said up to now.
    async fn members_known(&self) -> Result<()> {
        let upto = {
            let changes = lock(&self.members.changes);
            if changes.known() == changes.pushed() {
                return Ok(());
            }
            changes.pushed()
        };
        let mut known = self.members.known.subscribe();
        match tokio::time::timeout(WAIT, known.wait_for(|known| *known >= upto)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(BackendError("who is in channels is not known yet".to_owned()).into()),
        }
    }

    /// Who is in a channel; `None`: more than [`LISTED`].
    pub async fn members(&self, channel: &ScopedChannel) -> Result<Option<Vec<Member>>> {
        self.members_known().await?;
        Ok(self.deps.backend.members(channel, LISTED, self.now_ms()).await?)
    }

    /// How many are in a channel.
    pub async fn count_members(&self, channel: &ScopedChannel) -> Result<MemberCounts> {
        self.members_known().await?;
        Ok(self.deps.backend.count(channel, self.now_ms()).await?)
    }
}
