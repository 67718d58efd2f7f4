//! Live logs in this process's memory.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use fama_protocol::{Channel, Epoch, Position, ScopedChannel, ScopedMap};

use super::log::{Appended, LiveLog, LogEntry, LogLimits, LogRead};
use crate::settings::Mutant;
use crate::sync::lock;
use crate::{FanoutError, Result};

const SHARDS: usize = 16;
/// Event ids remembered, in multiples of the log's size and at least.
const SEEN_SIZES: usize = 4;
const SEEN_MIN: usize = 128;
const SEEN_MAX: usize = 4_096;
/// Subjects remembered as closed.
const CLOSED: usize = 128;
/// What an entry costs besides its payload, about.
const ENTRY_BYTES: usize = 48;

/// Bounds of [`MemoryLiveLog`].
#[derive(Debug, Clone, Copy)]
pub struct MemoryLogLimits {
    /// Logs. At the bound, opening another one is refused with [`FanoutError::Full`].
    pub logs: usize,
    /// Bytes of one log's entries. Beyond it the oldest go.
    pub log_bytes: usize,
    /// Bytes of all logs' entries. Beyond it a log that is appended to keeps nothing but its position.
    pub bytes: usize,
}

impl Default for MemoryLogLimits {
    fn default() -> Self {
        Self { logs: 2_000_000, log_bytes: 4 << 20, bytes: 512 << 20 }
    }
}

/// One log. Most are empty: what those do not need is in [`Kept`].
#[derive(Debug)]
struct Log {
    top: Position,
    /// When it was last opened or touched (monotonic ms).
    used_ms: u64,
    ttl_ms: u32,
    size: u32,
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Up to the top.
    entries: VecDeque<Bytes>,
    bytes: usize,
    /// Hashes of event ids up to the top's.
    seen: VecDeque<u64>,
    /// Subjects that had their last event.
    closed: VecDeque<u64>,
}

impl Log {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms > self.used_ms.saturating_add(u64::from(self.ttl_ms))
    }

    fn bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.bytes)
    }

    /// Where an event is already.
    fn find(&self, id: u64) -> Option<Position> {
        let seen = &self.kept.as_ref()?.seen;
        let back = seen.iter().rev().position(|hash| *hash == id)?;
        let offset = self.top.offset.checked_sub(u64::try_from(back).ok()?)?;
        Some(Position { epoch: self.top.epoch, offset })
    }

    fn append(&mut self, id: u64, entry: &LogEntry, log_bytes: usize) -> Option<Appended> {
        if let Some(position) = self.find(id) {
            return Some(Appended { position, new: false });
        }
        let size = self.size as usize;
        let kept = self.kept.get_or_insert_default();
        if let Some(subject) = entry.subject {
            if kept.closed.contains(&subject.id) {
                return None;
            }
            if subject.last {
                kept.closed.push_back(subject.id);
                if kept.closed.len() > CLOSED {
                    kept.closed.pop_front();
                }
            }
        }
        self.top.offset += 1;
        kept.seen.push_back(id);
        if kept.seen.len() > (size * SEEN_SIZES).clamp(SEEN_MIN, SEEN_MAX) {
            kept.seen.pop_front();
        }
        kept.bytes += entry.payload.len() + ENTRY_BYTES;
        kept.entries.push_back(entry.payload.clone());
        while kept.entries.len() > size || kept.bytes > log_bytes {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.len() + ENTRY_BYTES;
        }
        Some(Appended { position: self.top, new: true })
    }

    fn forget_entries(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.entries = VecDeque::new();
            kept.bytes = 0;
        }
    }

    fn since(&self, offset: u64, limit: usize) -> LogRead {
        let Some(kept) = &self.kept else { return LogRead { top: self.top, entries: Vec::new() } };
        let behind = usize::try_from(self.top.offset.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = behind.min(limit).min(kept.entries.len());
        let first = self.top.offset + 1 - count as u64;
        let newest = kept.entries.range(kept.entries.len() - count..).cloned();
        LogRead { top: self.top, entries: (first..).zip(newest).collect() }
    }
}

type Shard = ScopedMap<Channel, Log>;

/// Live logs of the embedded node.
#[derive(Debug)]
pub struct MemoryLiveLog {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    limits: MemoryLogLimits,
    logs: AtomicUsize,
    bytes: AtomicUsize,
    mutant: Option<Mutant>,
}

impl MemoryLiveLog {
    /// No logs.
    pub fn new(limits: MemoryLogLimits) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (logs, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { shards, hasher: RandomState::new(), limits, logs, bytes, mutant: None }
    }

    /// The same with a planted bug.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// How many logs there are.
    pub fn len(&self) -> usize {
        self.logs.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Drops logs whose ttl is over. To be called every few seconds.
    pub fn sweep(&self, now_ms: u64) {
        self.retain(|log| !log.is_over(now_ms));
    }

    /// Loses everything, as a cache does: all logs come back with other epochs.
    pub fn clear(&self) {
        self.retain(|_| false);
    }

    fn retain(&self, keep: impl Fn(&Log) -> bool) {
        for shard in &self.shards {
            lock(shard).retain(|_, _, log| keep(log) || self.gone(log));
        }
    }

    /// Keeps the books of a log that goes. `false`, for retaining.
    fn gone(&self, log: &Log) -> bool {
        self.logs.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(log.bytes(), Ordering::Relaxed);
        false
    }

    fn shard(&self, channel: &ScopedChannel) -> MutexGuard<'_, Shard> {
        let at = (self.hasher.hash_one(channel) >> 57) as usize % SHARDS;
        lock(&self.shards[at])
    }

    /// The log, unless its ttl is over.
    fn with<R>(&self, channel: &ScopedChannel, now_ms: u64, f: impl FnOnce(&mut Log) -> R) -> Option<R> {
        let mut shard = self.shard(channel);
        let ScopedChannel { app, channel } = channel;
        let log = shard.get_mut(app, channel)?;
        if log.is_over(now_ms) {
            if let Some(log) = shard.remove(app, channel) {
                self.gone(&log);
            }
            return None;
        }
        Some(f(log))
    }

    fn append_one(&self, channel: &ScopedChannel, entry: &LogEntry, now_ms: u64) -> Option<Appended> {
        self.with(channel, now_ms, |log| {
            // With the epoch, so that no two ids can be found that meet in every log.
            let id = self.hasher.hash_one((log.top.epoch, &entry.event_id));
            let before = log.bytes();
            let appended = log.append(id, entry, self.limits.log_bytes);
            if self.mutant == Some(Mutant::DedupeRetained)
                && let Some(kept) = &mut log.kept
            {
                let forgotten = kept.seen.len() - kept.entries.len();
                kept.seen.drain(..forgotten);
            }
            let total = self.bytes.load(Ordering::Relaxed);
            if total.saturating_sub(before) + log.bytes() > self.limits.bytes {
                log.forget_entries();
            }
            self.bytes.fetch_add(log.bytes(), Ordering::Relaxed);
            self.bytes.fetch_sub(before, Ordering::Relaxed);
            appended
        })
        .flatten()
    }
}

#[async_trait]
impl LiveLog for MemoryLiveLog {
    async fn open(
        &self,
        channel: &ScopedChannel,
        limits: LogLimits,
        random: u64,
        now_ms: u64,
    ) -> Result<Position> {
        let ttl_ms = u32::try_from(limits.ttl_ms).unwrap_or(u32::MAX);
        let size = u32::try_from(limits.size).unwrap_or(u32::MAX);
        let opened = self.with(channel, now_ms, |log| {
            (log.used_ms, log.ttl_ms, log.size) = (now_ms, ttl_ms, size);
            log.top
        });
        if let Some(top) = opened {
            return Ok(top);
        }
        if self.len() >= self.limits.logs {
            return Err(FanoutError::Full("the memory for live logs"));
        }
        let top = Position { epoch: Epoch::from_random(random), offset: 0 };
        let fresh = Log { top, used_ms: now_ms, ttl_ms, size, kept: None };
        let mut shard = self.shard(channel);
        let log = shard.get_or_insert_with(&channel.app, channel.channel.clone(), || {
            self.logs.fetch_add(1, Ordering::Relaxed);
            fresh
        });
        Ok(log.top)
    }

    async fn append(
        &self,
        channels: &[ScopedChannel],
        entry: &LogEntry,
        now_ms: u64,
    ) -> Result<Vec<Option<Appended>>> {
        Ok(channels.iter().map(|channel| self.append_one(channel, entry, now_ms)).collect())
    }

    async fn since(
        &self,
        channel: &ScopedChannel,
        offset: u64,
        limit: usize,
        now_ms: u64,
    ) -> Result<Option<LogRead>> {
        Ok(self.with(channel, now_ms, |log| log.since(offset, limit)))
    }

    async fn touch(&self, channels: &[ScopedChannel], now_ms: u64) -> Result<Vec<Option<Position>>> {
        let touch = |log: &mut Log| {
            log.used_ms = now_ms;
            log.top
        };
        Ok(channels.iter().map(|channel| self.with(channel, now_ms, touch)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;
    use crate::Clock;
    use crate::testing::TestClock;
    use fama_protocol::{AppId, Channel, UserId};

    #[tokio::test(start_paused = true)]
    async fn passes_the_contract() {
        let log = MemoryLiveLog::new(MemoryLogLimits::default());
        contract::live_log(&log, &TestClock::new(1), "u").await;
    }

    #[tokio::test(start_paused = true)]
    async fn stays_within_its_bounds() {
        let clock = TestClock::new(1);
        let log = MemoryLiveLog::new(MemoryLogLimits { logs: 10, log_bytes: 1_000, bytes: 2_500 });
        let limits = LogLimits { size: 100, ttl_ms: 1_000 };
        let channel = |at| {
            let user = UserId::new(&format!("u{at}")).unwrap();
            ScopedChannel::new(&AppId::default(), Channel::user(&user))
        };
        for at in 0..10 {
            log.open(&channel(at), limits, clock.random(), 0).await.unwrap();
        }
        let full = log.open(&channel(10), limits, clock.random(), 0).await;
        assert!(matches!(full, Err(FanoutError::Full(_))), "one log too many");
        for event in 0..100 {
            for at in 0..10 {
                let (event_id, payload) = (format!("{event}"), Bytes::from(vec![0; 100]));
                let entry = LogEntry { event_id, subject: None, payload };
                let appended = log.append(&[channel(at)], &entry, 0).await.unwrap();
                assert_eq!(appended[0].unwrap().position.offset, event + 1, "positions go on");
                assert!(log.bytes() <= 2_500, "{}", log.bytes());
            }
        }
        for at in 0..10 {
            let read = log.since(&channel(at), 0, 100, 0).await.unwrap().unwrap();
            let (first, count) = (read.entries.first().map_or(101, |(at, _)| *at), read.entries.len());
            assert!(count <= 6 && first + count as u64 == 101, "{first} {count}");
        }
        log.sweep(1_001);
        assert_eq!((log.len(), log.bytes()), (0, 0));
    }
}
