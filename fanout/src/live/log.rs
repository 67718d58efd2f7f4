//! The live log of a channel: a short, bounded tail that makes resuming possible. A projection.
//!
//! - Offsets are contiguous within an epoch. A log that was lost, or not opened for its ttl, comes back with another epoch.
//! - Appending to a channel without a log does nothing: nobody was there to see it.

use async_trait::async_trait;
use bytes::Bytes;
use fama_protocol::{Position, ScopedChannel};

use crate::Result;

/// What is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Names the event: the same id is appended once, also after it was trimmed. At most 255 bytes.
    pub event_id: String,
    /// What it is about, if order matters.
    pub subject: Option<Subject>,
    /// For `user:#` and `author:` channels a reference (see `EventRef`), for the app's own channels the publication.
    pub payload: Bytes,
}

/// Events about one thing end with the last one: `created` is never appended after `deleted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Of the post.
    pub id: u64,
    /// Nothing of this subject is appended any more.
    pub last: bool,
}

/// What appending did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Where the event is.
    pub position: Position,
    /// Whether it was appended now, or was there already. Either way it is sent on: the first sender may have died.
    pub new: bool,
}

/// A log read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// Newest position.
    pub top: Position,
    /// What is kept after the offset asked for, oldest first, contiguous up to `top`; may begin later than asked.
    pub entries: Vec<(u64, Bytes)>,
}

/// How a log is kept. A log may keep less where memory is short: readers notice by the offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Entries kept; older ones go.
    pub size: usize,
    /// The log goes if not opened or touched for so long.
    pub ttl_ms: u64,
}

/// Most channels of one call of [`LiveLog`] and [`super::registry::Registry`].
pub const MAX_CHANNELS: usize = 2_000;

/// Live logs. At most [`MAX_CHANNELS`] a call.
#[async_trait]
pub trait LiveLog: Send + Sync {
    /// Opens a log, making it with a fresh epoch (from `random`) if there is none, or if it is of another generation, and
    /// keeps it for the ttl from `now_ms` on (monotonic).
    async fn open(
        &self,
        channel: &ScopedChannel,
        limits: LogLimits,
        random: u64,
        now_ms: u64,
    ) -> Result<Position>;

    /// Appends to each log that exists, in the order given; `None` where there is no log, or where the subject's last
    /// event is there already. The memory of event ids and of last events outlives trimming, and is bounded: at least
    /// the last 128 events of a log.
    async fn append(
        &self,
        channels: &[ScopedChannel],
        entry: &LogEntry,
        now_ms: u64,
    ) -> Result<Vec<Option<Appended>>>;

    /// Reads what came after `offset` (all that is kept for 0), and the top, at one instant; of more than `limit` entries
    /// the newest. `None`: no log.
    async fn since(
        &self,
        channel: &ScopedChannel,
        offset: u64,
        limit: usize,
        now_ms: u64,
    ) -> Result<Option<LogRead>>;

    /// Keeps logs for another ttl and tells their tops; `None` where there is none. Makes none.
    async fn touch(&self, channels: &[ScopedChannel], now_ms: u64) -> Result<Vec<Option<Position>>>;
}
