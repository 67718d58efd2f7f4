//! One feed.

use fama_protocol::{PostId, UserId};

use crate::feed_cache::{FeedMeta, Rebuild};

/// Stamps kept. Older ones are merged into one that stands for every author: cleanup then does less, which is safe.
const STAMPS: usize = 256;

/// The id's two halves and the author's number; ordered by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry([u32; 3]);

impl Entry {
    #[allow(clippy::cast_possible_truncation, reason = "the halves of the id")]
    pub(super) fn new(id: PostId, author: u32) -> Self {
        Self([(id.get() >> 32) as u32, id.get() as u32, author])
    }

    pub(super) fn id(&self) -> PostId {
        PostId::from_u64((u64::from(self.0[0]) << 32) | u64::from(self.0[1])).unwrap_or(PostId::MAX)
    }

    pub(super) fn author(&self) -> u32 {
        self.0[2]
    }
}

pub(super) struct Feed {
    pub(super) floor: PostId,
    pub(super) token: u64,
    used_ms: u64,
    /// Of this process: grows only when everything is lost.
    generation: u32,
    ready: bool,
    /// Many feeds are built and empty.
    kept: Option<Box<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// While it is being built: when that began.
    began_ms: u64,
    /// Oldest first: what is new is appended.
    entries: Vec<Entry>,
    /// Newest version backfilled for an author, in the order of authors.
    stamps: Vec<(UserId, u64)>,
    /// The highest stamp that was merged away.
    merged_stamp: u64,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.stamps.is_empty() && self.merged_stamp == 0
    }
}

impl Feed {
    pub(super) fn begin(token: u64, generation: u64, now_ms: u64) -> Self {
        let generation = short(generation);
        let kept = Some(Box::new(Kept { began_ms: now_ms, ..Kept::default() }));
        Self { floor: PostId::ZERO, token, used_ms: now_ms, generation, ready: false, kept }
    }

    pub(super) fn begin_again(&mut self, token: u64, generation: u64, now_ms: u64, lock_ms: u64) -> Rebuild {
        if self.ready && self.generation == short(generation) {
            return Rebuild::Ready;
        }
        let kept = self.kept.get_or_insert_default();
        if !self.ready && now_ms.saturating_sub(kept.began_ms) < lock_ms {
            return Rebuild::Busy;
        }
        kept.began_ms = now_ms;
        (self.ready, self.floor, self.token) = (false, PostId::ZERO, token);
        (self.generation, self.used_ms) = (short(generation), now_ms);
        Rebuild::Begun
    }

    pub(super) fn finish(&mut self, floor: PostId, generation: u64) {
        (self.floor, self.generation, self.ready) = (floor, short(generation), true);
        self.kept.take_if(|kept| kept.is_empty());
    }

    pub(super) fn touch(&mut self, now_ms: u64) {
        self.used_ms = self.used_ms.max(now_ms);
    }

    pub(super) fn was_used_before(&self, before_ms: u64) -> bool {
        self.used_ms < before_ms
    }

    fn entries(&self) -> &[Entry] {
        self.kept.as_ref().map_or(&[], |kept| &kept.entries)
    }

    fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        self.kept.as_mut().map(|kept| &mut kept.entries)
    }

    pub(super) fn meta(&self) -> FeedMeta {
        let generation = u64::from(self.generation);
        FeedMeta { ready: self.ready, floor: self.floor, token: self.token, generation }
    }

    /// `false`: it was there.
    pub(super) fn add(&mut self, entry: Entry) -> bool {
        let entries = &mut self.kept.get_or_insert_default().entries;
        let at = match entries.last() {
            Some(last) if last.id() < entry.id() => entries.len(),
            _ => entries.partition_point(|other| other.id() < entry.id()),
        };
        if entries.get(at).is_some_and(|other| other.id() == entry.id()) {
            return false;
        }
        if entries.len() == entries.capacity() {
            entries.reserve_exact(8 + entries.len() / 4);
        }
        entries.insert(at, entry);
        true
    }

    /// Drops the oldest beyond the cap, not one by one.
    pub(super) fn trim(&mut self, hot_cap: usize, gone: &mut Vec<u32>) {
        let Some(entries) = self.entries_mut() else { return };
        if entries.len() > hot_cap + hot_cap / 8 {
            let excess = entries.len() - hot_cap;
            gone.extend(entries.drain(..excess).map(|entry| entry.author()));
        }
    }

    pub(super) fn cap_floor(&self, hot_cap: usize) -> PostId {
        let at = self.entries().len().checked_sub(hot_cap);
        at.and_then(|at| self.entries().get(at)).map_or(PostId::ZERO, Entry::id)
    }

    /// The newest `limit` below an id, oldest first, and whether older ones are kept.
    pub(super) fn page(&self, below: PostId, limit: usize, hot_cap: usize) -> (&[Entry], bool) {
        let kept = &self.entries()[self.entries().len().saturating_sub(hot_cap)..];
        let end = kept.partition_point(|entry| entry.id() < below);
        let start = end.saturating_sub(limit);
        (&kept[start..end], start > 0)
    }

    pub(super) fn stamp(&mut self, author: &UserId, version: u64) {
        let Kept { stamps, merged_stamp, .. } = &mut **self.kept.get_or_insert_default();
        match stamps.binary_search_by(|(other, _)| other.cmp(author)) {
            Ok(at) => stamps[at].1 = stamps[at].1.max(version),
            Err(at) => stamps.insert(at, (author.clone(), version)),
        }
        if stamps.len() > STAMPS {
            let mut versions: Vec<u64> = stamps.iter().map(|(_, version)| *version).collect();
            versions.sort_unstable();
            let merged = versions[STAMPS / 2];
            stamps.retain(|(_, version)| *version > merged);
            *merged_stamp = (*merged_stamp).max(merged);
        }
    }

    pub(super) fn stamped(&self, author: &UserId) -> u64 {
        let Some(kept) = &self.kept else { return 0 };
        let at = kept.stamps.binary_search_by(|(other, _)| other.cmp(author));
        at.map_or(kept.merged_stamp, |at| kept.stamps[at].1.max(kept.merged_stamp))
    }

    pub(super) fn remove(&mut self, author: u32, gone: &mut Vec<u32>) {
        let Some(entries) = self.entries_mut() else { return };
        let before = entries.len();
        entries.retain(|entry| entry.author() != author);
        gone.extend(std::iter::repeat_n(author, before - entries.len()));
    }

    #[cfg(feature = "mutants")]
    pub(super) fn clear(&mut self, gone: &mut Vec<u32>) {
        gone.extend(
            self.entries_mut().into_iter().flat_map(|entries| entries.drain(..)).map(|entry| entry.author()),
        );
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.kept.map_or_else(Vec::new, |kept| kept.entries)
    }
}

fn short(generation: u64) -> u32 {
    u32::try_from(generation).unwrap_or(u32::MAX)
}
