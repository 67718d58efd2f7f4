//! The channels of one shard: who subscribes, where each channel stands, and the proof that nothing is missing.
//!
//! Pure: [`ChannelTable::on`] takes what happened and tells what is to be done. For each channel one I/O step is under
//! way at a time. A channel is opened by registering and then reading its log; what comes meanwhile is buffered, so
//! every event is either in the log read or in the buffer. After that it is compared with the log whenever something
//! may have been lost: what is missing is delivered from the log, or, if the log no longer has it, all subscribers are
//! told that continuity is lost.

mod entry;
mod messages;
mod steps;
mod tail;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use fama_protocol::{ChannelKind, DenseMap, ScopedChannel};

use crate::settings::Mutant;
use entry::{Entry, Io, Waiter};
pub use types::{Action, Attempt, ChannelRead, Input, ResetReason, Since};

/// Bounds of a table.
#[derive(Debug, Clone, Copy)]
pub struct TableLimits {
    /// Newest publications kept of each shared channel, so that resuming it reads no log. `user:#` channels keep none.
    pub tail_entries: usize,
    /// Bytes of them.
    pub tail_bytes: usize,
    /// Bytes of all tails. At the bound a channel that gets a publication gives its tail up.
    pub tails_bytes: usize,
    /// Messages buffered for a channel. At the bound they are dropped and the log is read again.
    pub pending: usize,
    /// Bytes of them.
    pub pending_bytes: usize,
    /// Doubted channels checked at once.
    pub checks: usize,
    /// How long a missing message may be on its way before the log is read, in milliseconds.
    pub gap_ms: u64,
    /// The planted bug, for tests that must find it.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl TableLimits {
    #[cfg(feature = "mutants")]
    fn planted(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[allow(clippy::unused_self, reason = "the same call with and without the feature")]
    const fn planted(&self, _: Mutant) -> bool {
        false
    }
}

impl Default for TableLimits {
    fn default() -> Self {
        Self {
            tail_entries: 128,
            tail_bytes: 256 << 10,
            tails_bytes: 64 << 20,
            pending: 512,
            pending_bytes: 1 << 20,
            checks: 64,
            gap_ms: 40,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// See the module. `S` names a subscriber: one connection's subscription.
#[derive(Debug)]
pub struct ChannelTable<S> {
    channels: DenseMap<ScopedChannel, Entry<S>>,
    limits: TableLimits,
    /// To be checked, a few at a time.
    doubted: VecDeque<ScopedChannel>,
    /// Checks under way from that list.
    checking: usize,
    /// Channels that go on by themselves, by time.
    agenda: BTreeSet<(u64, ScopedChannel)>,
    tails_bytes: usize,
    touched: usize,
}

impl<S: Copy + Eq + Hash> ChannelTable<S> {
    /// No channels.
    pub fn new(limits: TableLimits) -> Self {
        Self {
            channels: DenseMap::new(),
            limits,
            doubted: VecDeque::new(),
            checking: 0,
            agenda: BTreeSet::new(),
            tails_bytes: 0,
            touched: 0,
        }
    }

    /// How many channels.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The live subscribers of a channel, if they are few; `None`: there are many, or the channel is not known.
    pub fn few_members(&self, channel: &ScopedChannel) -> Option<&[S]> {
        self.channels.get(channel).and_then(|entry| entry.members.few())
    }

    /// When to call again with [`Input::Tick`] (monotonic milliseconds), unless something else comes first.
    pub fn next_due(&self) -> Option<u64> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// The next channels whose logs are to be kept and compared, round robin, at most `limit`: see
    /// [`crate::live::LiveLog::touch`] and [`Input::Touched`]. Each channel's turn must come well within the log's ttl.
    pub fn channels_to_touch(&mut self, limit: usize) -> Vec<ScopedChannel> {
        let mut found = Vec::new();
        for _ in 0..self.channels.len() {
            if found.len() == limit {
                break;
            }
            self.touched = (self.touched + 1) % self.channels.len();
            if let Some((channel, entry)) = self.channels.get_index(self.touched)
                && entry.position.is_some()
            {
                found.push(channel.clone());
            }
        }
        found
    }

    /// What happened, at `now_ms` (monotonic); what is to be done is pushed to `out`, to be done in that order.
    pub fn on(&mut self, input: Input<S>, now_ms: u64, out: &mut Vec<Action<S>>) {
        match input {
            Input::Subscribe { channel, subscriber, since, positioned } => {
                self.subscribe(&channel, subscriber, since, positioned, out);
            }
            Input::Unsubscribe { channel, subscriber } => self.unsubscribe(&channel, subscriber, out),
            Input::Registered { channel, attempt, ok } => {
                self.registered(&channel, attempt, ok, now_ms, out);
            }
            Input::Read { channel, attempt, read } => self.read(&channel, attempt, read, now_ms, out),
            Input::Unregistered { channel } => self.unregistered(&channel, out),
            Input::Incoming { channel, position, payload } => {
                self.incoming(&channel, position, payload, now_ms, out);
            }
            Input::Doubt { registrations } => self.doubt(registrations, out),
            Input::Touched { channel, top } => self.compare(&channel, top, now_ms, out),
            Input::Recheck { channel } => self.recheck(&channel, out),
            Input::Tick => {}
        }
        self.run_agenda(now_ms, out);
        self.pump(out);
    }

    fn subscribe(
        &mut self,
        channel: &ScopedChannel,
        subscriber: S,
        since: Option<Since>,
        positioned: bool,
        out: &mut Vec<Action<S>>,
    ) {
        if !self.channels.contains_key(channel) {
            let tailed = positioned && !matches!(channel.channel.kind(), ChannelKind::User(_));
            self.channels.insert(channel.clone(), Entry::new(positioned, tailed));
        }
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if entry.io == Io::Unregistering && !entry.has_waiters() {
            entry.positioned = positioned;
        }
        if entry.is_open()
            && let Some((recovered, publications)) = entry.at_once(since)
        {
            entry.members.insert(subscriber);
            let (channel, position) = (channel.clone(), entry.position);
            out.push(Action::Reply { subscriber, channel, position, recovered, publications });
            return;
        }
        if self.limits.planted(Mutant::UnregisterRace) && entry.io == Io::Unregistering {
            (entry.io, entry.need_register) = (Io::Idle, true);
        }
        let work = entry.work();
        work.waiters.retain(|waiter| waiter.subscriber != subscriber);
        work.waiters.push(Waiter { subscriber, since, asked: false });
        entry.need_read |= entry.positioned;
        self.drive(channel, false, out);
    }

    fn unsubscribe(&mut self, channel: &ScopedChannel, subscriber: S, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        entry.members.remove(subscriber);
        if let Some(work) = &mut entry.work {
            work.waiters.retain(|waiter| waiter.subscriber != subscriber);
        }
        self.drive(channel, false, out);
    }

    fn doubt(&mut self, registrations: bool, out: &mut Vec<Action<S>>) {
        let mut restart = Vec::new();
        for (channel, entry) in self.channels.iter_mut() {
            let goes_on = self.limits.planted(Mutant::SubscribeGoesOn) && entry.position.is_none();
            if entry.io == Io::Unregistering || goes_on {
                continue;
            }
            let opening = entry.positioned && (entry.position.is_none() || entry.has_waiters());
            entry.need_register |= registrations || opening;
            let compares = !(registrations && self.limits.planted(Mutant::ReregisterOnly));
            entry.need_read |= entry.positioned && (compares || opening);
            entry.stale |= entry.io != Io::Idle;
            if entry.io != Io::Idle || !(entry.need_read || entry.need_register) {
                continue;
            }
            if opening {
                restart.push(channel.clone());
            } else if !entry.queued {
                entry.queued = true;
                self.doubted.push_back(channel.clone());
            }
        }
        for channel in restart {
            self.drive(&channel, false, out);
        }
    }

    /// Begins checks of doubted channels, as many as may be under way.
    fn pump(&mut self, out: &mut Vec<Action<S>>) {
        while self.checking < self.limits.checks {
            let Some(channel) = self.doubted.pop_front() else { break };
            if let Some(entry) = self.channels.get_mut(&channel) {
                entry.queued = false;
            }
            self.drive(&channel, true, out);
        }
    }

    fn run_agenda(&mut self, now_ms: u64, out: &mut Vec<Action<S>>) {
        while self.agenda.first().is_some_and(|(due, _)| *due <= now_ms) {
            let Some((due, channel)) = self.agenda.pop_first() else { break };
            let Some(entry) = self.channels.get_mut(&channel) else { continue };
            let Some(work) = entry.work.as_mut().filter(|work| work.due == Some(due)) else { continue };
            work.due = None;
            let behind = entry.position.is_some_and(|position| position.offset < work.target);
            entry.need_read |= behind;
            self.drive(&channel, false, out);
        }
    }
}
