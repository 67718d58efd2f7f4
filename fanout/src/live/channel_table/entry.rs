//! What the table keeps of one channel. Idle channels are many: what only busy ones need is in [`Work`].

use std::collections::HashSet;
use std::hash::Hash;

use bytes::Bytes;
use fama_protocol::{Epoch, Position};

use super::tail::Tail;
use super::types::{Attempt, Since};

/// Subscribers in a list become a set beyond this.
const FEW: usize = 32;

/// The I/O under way: one at a time for each channel, which serialises its registry writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Io {
    Idle,
    Registering,
    Reading,
    Unregistering,
}

/// Live subscribers.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "a list or a set inline would make every channel larger")]
pub(super) enum Members<S> {
    None,
    /// Almost everybody has one device.
    One([S; 1]),
    Few(Box<Vec<S>>),
    Many(Box<HashSet<S>>),
}

impl<S: Copy + Eq + Hash> Members<S> {
    pub(super) fn insert(&mut self, subscriber: S) {
        match self {
            Self::None => *self = Self::One([subscriber]),
            Self::One(list) if list.contains(&subscriber) => {}
            Self::One([other]) => *self = Self::Few(Box::new(vec![*other, subscriber])),
            Self::Few(list) if list.contains(&subscriber) => {}
            Self::Few(list) if list.len() < FEW => list.push(subscriber),
            Self::Few(list) => {
                let mut set: HashSet<S> = list.drain(..).collect();
                set.insert(subscriber);
                *self = Self::Many(Box::new(set));
            }
            Self::Many(set) => {
                set.insert(subscriber);
            }
        }
    }

    pub(super) fn remove(&mut self, subscriber: S) {
        match self {
            Self::One(list) if list.contains(&subscriber) => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Few(list) => {
                if let Some(at) = list.iter().position(|s| *s == subscriber) {
                    list.swap_remove(at);
                }
                if let [only] = list[..] {
                    *self = Self::One([only]);
                }
            }
            Self::Many(set) => {
                set.remove(&subscriber);
            }
        }
    }

    /// All of them, if they are few.
    pub(super) fn few(&self) -> Option<&[S]> {
        match self {
            Self::None => Some(&[]),
            Self::One(list) => Some(list),
            Self::Few(list) => Some(list),
            Self::Many(_) => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Many(set) => set.is_empty(),
            _ => self.few().is_none_or(<[S]>::is_empty),
        }
    }
}

/// A subscriber without its reply.
#[derive(Debug)]
pub(super) struct Waiter<S> {
    pub(super) subscriber: S,
    pub(super) since: Option<Since>,
    /// A read that began after it came is under way: what that does not find is not there.
    pub(super) asked: bool,
}

/// State of a channel that is not at rest.
#[derive(Debug)]
pub(super) struct Work<S> {
    pub(super) waiters: Vec<Waiter<S>>,
    /// Messages that cannot be delivered yet: the position is unknown, or one before them is missing.
    pub(super) pending: Vec<(Position, Bytes)>,
    pub(super) pending_bytes: usize,
    /// Delivered while somebody waits for a read.
    pub(super) recent: Vec<(u64, Bytes)>,
    pub(super) recent_bytes: usize,
    /// When to go on by itself.
    pub(super) due: Option<u64>,
    /// The offset that should be reached by then.
    pub(super) target: u64,
    /// Failures in a row.
    pub(super) failures: u32,
}

impl<S> Default for Work<S> {
    fn default() -> Self {
        Self {
            waiters: Vec::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            recent: Vec::new(),
            recent_bytes: 0,
            due: None,
            target: 0,
            failures: 0,
        }
    }
}

impl<S> Work<S> {
    pub(super) fn forget_recent(&mut self) {
        self.recent = Vec::new();
        self.recent_bytes = 0;
    }

    fn is_idle(&self) -> bool {
        self.waiters.is_empty()
            && self.pending.is_empty()
            && self.recent.is_empty()
            && self.due.is_none()
            && self.failures == 0
    }
}

/// One channel.
#[derive(Debug)]
pub(super) struct Entry<S> {
    /// The node has delivered everything up to here. `None` until the log was read.
    pub(super) position: Option<Position>,
    pub(super) members: Members<S>,
    pub(super) tail: Option<Box<Tail>>,
    pub(super) work: Option<Box<Work<S>>>,
    pub(super) attempt: Attempt,
    pub(super) io: Io,
    /// Has a log.
    pub(super) positioned: bool,
    /// Keeps a tail.
    pub(super) tailed: bool,
    /// A registry write was begun since the last unregister.
    pub(super) registered: bool,
    /// The registry must be written before anything else.
    pub(super) need_register: bool,
    /// The log must be read.
    pub(super) need_read: bool,
    /// A doubt came after the I/O under way began.
    pub(super) stale: bool,
    /// In the list of doubted channels.
    pub(super) queued: bool,
    /// The I/O under way was begun from that list.
    pub(super) paced: bool,
}

impl<S: Copy + Eq + Hash> Entry<S> {
    pub(super) fn new(positioned: bool, tailed: bool) -> Self {
        Self {
            position: None,
            members: Members::None,
            tail: None,
            work: None,
            attempt: 0,
            io: Io::Idle,
            positioned,
            tailed,
            registered: false,
            need_register: true,
            need_read: positioned,
            stale: false,
            queued: false,
            paced: false,
        }
    }

    pub(super) fn work(&mut self) -> &mut Work<S> {
        self.work.get_or_insert_default()
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.waiters.is_empty())
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.members.is_empty() && !self.has_waiters()
    }

    /// Subscribers can be let in: registered, and the position is known.
    pub(super) fn is_open(&self) -> bool {
        self.io != Io::Unregistering
            && if self.positioned { self.position.is_some() } else { self.is_settled() }
    }

    /// Registered and nothing under way.
    fn is_settled(&self) -> bool {
        self.registered && !self.need_register && self.io == Io::Idle
    }

    /// Gives back what idle channels do not need.
    pub(super) fn tidy(&mut self) {
        if self.work.as_ref().is_some_and(|work| work.is_idle()) {
            self.work = None;
        }
    }

    /// Whether the log's entries are wanted: after which offset, and only if it has this epoch (`None`: any).
    pub(super) fn wanted(&self) -> (u64, Option<Epoch>) {
        let mut since = self.position.map_or(u64::MAX, |position| position.offset);
        let mut epoch = self.position.map(|position| position.epoch);
        let mut mixed = false;
        for waiter in self.work.iter().flat_map(|work| &work.waiters) {
            let (theirs, offset) = match waiter.since {
                Some(Since::Position { epoch: Some(epoch), offset }) => (Some(epoch), offset),
                Some(Since::Latest { .. }) => {
                    (None, self.position.map_or(0, |position| position.offset.saturating_sub(1)))
                }
                _ => continue,
            };
            mixed |= theirs.is_none() || epoch.is_some_and(|epoch| Some(epoch) != theirs);
            epoch = epoch.or(theirs);
            since = since.min(offset);
        }
        (since, if mixed { None } else { epoch })
    }

    /// What a subscriber that stands at `since` gets; `None` if what is at hand does not prove it.
    pub(super) fn replay(&self, since: Option<Since>, read: &[(u64, Bytes)]) -> Option<Verdict> {
        let Some(since) = since else { return Some((None, Vec::new())) };
        let position = self.position?;
        match since {
            Since::Position { epoch, offset } | Since::Latest { epoch, offset }
                if epoch == Some(position.epoch) && offset == position.offset =>
            {
                // Cache mode tells an empty stream from one whose latest publication the client has.
                let recovered = offset > 0 || matches!(since, Since::Position { .. });
                Some((Some(recovered), Vec::new()))
            }
            Since::Position { epoch: None, .. } => Some((Some(false), Vec::new())),
            Since::Position { epoch, offset } if epoch == Some(position.epoch) => {
                let publications = self.after(offset, position.offset, read)?;
                Some((Some(true), publications))
            }
            Since::Position { .. } => None,
            Since::Latest { .. } if position.offset == 0 => Some((Some(false), Vec::new())),
            Since::Latest { .. } => {
                let latest = self.after(position.offset - 1, position.offset, read)?;
                Some((Some(true), latest))
            }
        }
    }

    /// Everything after `offset` up to `top`, proven contiguous.
    fn after(&self, offset: u64, top: u64, read: &[(u64, Bytes)]) -> Option<Vec<(u64, Bytes)>> {
        if offset > top {
            return None;
        }
        if let Some(found) = self.tail.as_ref().and_then(|tail| tail.after(offset, top)) {
            return Some(found);
        }
        let recent = self.work.iter().flat_map(|work| &work.recent);
        let read_to = read.last().map_or(0, |(offset, _)| *offset);
        let all = read.iter().chain(recent.filter(|(at, _)| *at > read_to));
        let found: Vec<_> = all.filter(|(at, _)| *at > offset && *at <= top).cloned().collect();
        let whole = found.iter().map(|(at, _)| *at).eq(offset + 1..=top);
        whole.then_some(found)
    }
}

/// `recovered` of the reply, and what is replayed.
pub(super) type Verdict = (Option<bool>, Vec<(u64, Bytes)>);
