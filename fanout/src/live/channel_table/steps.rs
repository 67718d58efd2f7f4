//! The I/O steps of one channel: register, read, merge, answer, leave.

use std::hash::Hash;

use bytes::Bytes;
use fama_protocol::ScopedChannel;

use super::ChannelTable;
use super::entry::{Entry, Io, Verdict};
use super::tail::Tail;
use super::types::{Action, Attempt, ChannelRead, ResetReason, Since};
use crate::settings::Mutant;

/// First wait after a failure; doubles up to the longest.
const RETRY_MS: u64 = 500;
const RETRY_MAX_MS: u64 = 15_000;

impl<S: Copy + Eq + Hash> Entry<S> {
    /// What a newcomer gets without I/O.
    pub(super) fn at_once(&self, since: Option<Since>) -> Option<Verdict> {
        if self.positioned { self.replay(since, &[]) } else { Some((since.map(|_| false), Vec::new())) }
    }
}

impl<S: Copy + Eq + Hash> ChannelTable<S> {
    /// Begins the next I/O step of a channel, if one is needed and none is under way. `paced`: from the list of doubted
    /// channels.
    pub(super) fn drive(&mut self, channel: &ScopedChannel, paced: bool, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if entry.io != Io::Idle {
            return;
        }
        if entry.is_deserted() {
            self.desert(channel, out);
            return;
        }
        let late = self.limits.planted(Mutant::RegisterLate) && entry.need_read && entry.positioned;
        if entry.need_register && !late {
            entry.io = Io::Registering;
            entry.registered = true;
            entry.need_register = false;
        } else if entry.need_read && entry.positioned {
            entry.io = Io::Reading;
            entry.need_read = false;
        } else {
            entry.tidy();
            return;
        }
        entry.stale = false;
        entry.attempt = entry.attempt.wrapping_add(1);
        entry.paced = paced;
        self.checking += usize::from(paced);
        let attempt = entry.attempt;
        if entry.io == Io::Registering {
            out.push(Action::Register { channel: channel.clone(), attempt });
        } else {
            let (since, epoch) = entry.wanted();
            if let Some(work) = &mut entry.work {
                work.waiters.iter_mut().for_each(|waiter| waiter.asked = true);
            }
            out.push(Action::Read { channel: channel.clone(), attempt, since, epoch });
        }
    }

    /// Nobody is there any more: leaves the registry and forgets.
    fn desert(&mut self, channel: &ScopedChannel, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        self.tails_bytes -= entry.tail.take().map_or(0, |tail| tail.bytes());
        if let Some(due) = entry.work.take().and_then(|work| work.due) {
            self.agenda.remove(&(due, channel.clone()));
        }
        if entry.registered {
            entry.io = Io::Unregistering;
            entry.registered = false;
            entry.position = None;
            out.push(Action::Unregister { channel: channel.clone() });
        } else {
            self.channels.remove(channel);
        }
    }

    pub(super) fn unregistered(&mut self, channel: &ScopedChannel, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if entry.io != Io::Unregistering {
            return;
        }
        entry.io = Io::Idle;
        entry.need_register = true;
        entry.need_read = entry.positioned;
        self.drive(channel, false, out);
    }

    /// The I/O under way ended; whether it was a paced one. `None`: this is the answer to another one.
    fn ended(&mut self, channel: &ScopedChannel, io: Io, attempt: Attempt) -> Option<bool> {
        let entry = self.channels.get_mut(channel)?;
        if entry.io != io || entry.attempt != attempt {
            return None;
        }
        entry.io = Io::Idle;
        let paced = std::mem::take(&mut entry.paced);
        self.checking -= usize::from(paced);
        Some(paced)
    }

    pub(super) fn registered(
        &mut self,
        channel: &ScopedChannel,
        attempt: Attempt,
        ok: bool,
        now_ms: u64,
        out: &mut Vec<Action<S>>,
    ) {
        let Some(paced) = self.ended(channel, Io::Registering, attempt) else { return };
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if !ok {
            entry.need_register = true;
            self.failed(channel, now_ms, out);
            return;
        }
        if !entry.positioned && !entry.need_register {
            if let Some(work) = &mut entry.work {
                work.failures = 0;
            }
            self.answer(channel, &[], out);
        }
        self.drive(channel, paced, out);
    }

    /// A step failed: waiting subscribers are told, for those that are in it is tried again later.
    fn failed(&mut self, channel: &ScopedChannel, now_ms: u64, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let work = entry.work();
        for waiter in work.waiters.drain(..) {
            out.push(Action::Failed { subscriber: waiter.subscriber, channel: channel.clone() });
        }
        work.forget_recent();
        work.failures = work.failures.saturating_add(1);
        let wait = (RETRY_MS << work.failures.min(6).saturating_sub(1)).min(RETRY_MAX_MS);
        if entry.is_deserted() {
            self.desert(channel, out);
        } else {
            self.go_on_at(channel, now_ms + wait);
        }
    }

    /// Goes on by itself at that time, or earlier if it was to.
    pub(super) fn go_on_at(&mut self, channel: &ScopedChannel, at_ms: u64) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let work = entry.work();
        match work.due {
            Some(due) if due <= at_ms => return,
            Some(due) => {
                self.agenda.remove(&(due, channel.clone()));
            }
            None => {}
        }
        work.due = Some(at_ms);
        self.agenda.insert((at_ms, channel.clone()));
    }

    pub(super) fn read(
        &mut self,
        channel: &ScopedChannel,
        attempt: Attempt,
        read: Option<ChannelRead>,
        now_ms: u64,
        out: &mut Vec<Action<S>>,
    ) {
        let Some(paced) = self.ended(channel, Io::Reading, attempt) else { return };
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let Some(read) = read else {
            entry.need_read = true;
            self.failed(channel, now_ms, out);
            return;
        };
        let stale = entry.stale;
        if let Some(work) = &mut entry.work {
            work.failures = 0;
        }
        if stale && entry.position.is_none() {
            // Something may have been lost between the registry write and this read: begin again.
            self.drive(channel, paced, out);
            return;
        }
        self.merge(channel, &read, out);
        self.release_pending(channel, now_ms, out);
        if stale {
            self.ask_again(channel);
        } else {
            self.answer(channel, &read.entries, out);
        }
        self.drive(channel, paced, out);
    }

    fn ask_again(&mut self, channel: &ScopedChannel) {
        let Some(work) = self.channels.get_mut(channel).and_then(|entry| entry.work.as_mut()) else { return };
        work.waiters.iter_mut().for_each(|waiter| waiter.asked = false);
    }

    /// Brings the position up to the log's: takes it over, delivers what is missing, or resets.
    fn merge(&mut self, channel: &ScopedChannel, read: &ChannelRead, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let Some(position) = entry.position else {
            self.take_over(channel, read);
            return;
        };
        if position.epoch != read.top.epoch {
            self.reset(channel, read, ResetReason::NewEpoch, out);
            return;
        }
        for (offset, payload) in &read.entries {
            entry.deliver_next(channel, (*offset, payload), (&self.limits, &mut self.tails_bytes), out);
        }
        if self.limits.planted(Mutant::GapJumps) {
            if let (Some(position), Some((first, _))) = (&mut entry.position, read.entries.first()) {
                position.offset = position.offset.max(first - 1);
            }
            for (offset, payload) in &read.entries {
                entry.deliver_next(channel, (*offset, payload), (&self.limits, &mut self.tails_bytes), out);
            }
        }
        if entry.position.is_some_and(|position| position.offset < read.top.offset) {
            self.reset(channel, read, ResetReason::Trimmed, out);
        }
    }

    /// The position is the log's, and the tail begins with what was read.
    fn take_over(&mut self, channel: &ScopedChannel, read: &ChannelRead) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        entry.position = Some(read.top);
        if let Some(work) = &mut entry.work {
            work.target = 0;
        }
        self.tails_bytes -= entry.tail.take().map_or(0, |tail| tail.bytes());
        if entry.tailed && read.entries.last().is_some_and(|(offset, _)| *offset == read.top.offset) {
            let mut tail = Tail::default();
            for (_, payload) in &read.entries {
                tail.push(payload.clone(), self.limits.tail_entries, self.limits.tail_bytes);
            }
            self.tails_bytes += tail.bytes();
            entry.tail = Some(Box::new(tail));
        }
    }

    fn reset(
        &mut self,
        channel: &ScopedChannel,
        read: &ChannelRead,
        reason: ResetReason,
        out: &mut Vec<Action<S>>,
    ) {
        self.take_over(channel, read);
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if let Some(work) = &mut entry.work {
            work.forget_recent();
        }
        if !entry.members.is_empty() {
            out.push(Action::Reset { channel: channel.clone(), position: read.top, reason });
        }
    }

    /// Lets in those whose continuity is proven, or known to be lost.
    fn answer(&mut self, channel: &ScopedChannel, read: &[(u64, Bytes)], out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let Some(work) = &mut entry.work else { return };
        for waiter in std::mem::take(&mut work.waiters) {
            let verdict =
                if entry.positioned { entry.replay(waiter.since, read) } else { entry.at_once(waiter.since) };
            let partial = || (Some(true), read.to_vec());
            let verdict = verdict.or_else(|| self.limits.planted(Mutant::PartialReplay).then(partial));
            let verdict = verdict.or_else(|| waiter.asked.then(|| (Some(false), Vec::new())));
            let Some((recovered, publications)) = verdict else {
                entry.need_read = true;
                entry.work().waiters.push(waiter);
                continue;
            };
            let (subscriber, position) = (waiter.subscriber, entry.position);
            entry.members.insert(subscriber);
            let channel = channel.clone();
            out.push(Action::Reply { subscriber, channel, position, recovered, publications });
        }
        if let Some(work) = entry.work.as_mut().filter(|work| work.waiters.is_empty()) {
            work.forget_recent();
        }
    }
}
