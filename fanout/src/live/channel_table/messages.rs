//! Messages of one channel: deliver the next one, hold those that came too early, find out what is missing.

use std::hash::Hash;

use bytes::Bytes;
use fama_protocol::{Position, ScopedChannel};

use super::entry::{Entry, Io};
use super::types::Action;
use super::{ChannelTable, TableLimits};
use crate::settings::Mutant;

impl<S: Copy + Eq + Hash> Entry<S> {
    /// Takes a message that cannot be delivered yet. Beyond the bounds all go, and the log is read instead.
    fn hold(&mut self, position: Position, payload: Bytes, max: usize, max_bytes: usize) {
        let work = self.work();
        work.pending_bytes += payload.len();
        work.pending.push((position, payload));
        if work.pending.len() > max || work.pending_bytes > max_bytes {
            work.pending = Vec::new();
            work.pending_bytes = 0;
            self.need_read = true;
            self.stale = self.io != Io::Idle;
        }
    }

    /// Delivers if it is the next one.
    pub(super) fn deliver_next(
        &mut self,
        channel: &ScopedChannel,
        (offset, payload): (u64, &Bytes),
        (limits, tails_bytes): (&TableLimits, &mut usize),
        out: &mut Vec<Action<S>>,
    ) {
        let Some(position) = self.position.as_mut().filter(|position| position.offset + 1 == offset) else {
            return;
        };
        position.offset = offset;
        let position = *position;
        if self.tailed {
            let before = self.tail.as_ref().map_or(0, |tail| tail.bytes());
            if *tails_bytes - before + payload.len() > limits.tails_bytes {
                self.tail = None;
                *tails_bytes -= before;
            } else {
                let tail = self.tail.get_or_insert_default();
                tail.push(payload.clone(), limits.tail_entries, limits.tail_bytes);
                *tails_bytes = *tails_bytes - before + tail.bytes();
            }
        }
        if let Some(work) = self.work.as_mut().filter(|work| !work.waiters.is_empty()) {
            work.recent_bytes += payload.len();
            work.recent.push((offset, payload.clone()));
            if work.recent.len() > limits.pending || work.recent_bytes > limits.pending_bytes {
                // What is not at hand any more is read once more.
                work.forget_recent();
                work.waiters.iter_mut().for_each(|waiter| waiter.asked = false);
            }
        }
        if !self.members.is_empty() {
            let (channel, payload) = (channel.clone(), payload.clone());
            out.push(Action::Deliver { channel, position: Some(position), payload });
        }
    }
}

impl<S: Copy + Eq + Hash> ChannelTable<S> {
    pub(super) fn incoming(
        &mut self,
        channel: &ScopedChannel,
        position: Option<Position>,
        payload: Bytes,
        now_ms: u64,
        out: &mut Vec<Action<S>>,
    ) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if entry.io == Io::Unregistering {
            return;
        }
        let (true, Some(at)) = (entry.positioned, position) else {
            // A namespace whose history was switched on or off is told apart only by new subscriptions.
            if !entry.members.is_empty() {
                out.push(Action::Deliver { channel: channel.clone(), position: None, payload });
            }
            return;
        };
        let Some(here) = entry.position else {
            if self.limits.planted(Mutant::NoBuffer) {
                return;
            }
            entry.hold(at, payload, self.limits.pending, self.limits.pending_bytes);
            return;
        };
        if at.epoch == here.epoch && at.offset > here.offset && self.limits.planted(Mutant::NoGapFetch) {
            entry.position = Some(Position { offset: at.offset - 1, ..here });
        }
        let here = entry.position.unwrap_or(here);
        if at.epoch != here.epoch {
            self.recheck(channel, out);
        } else if at.offset == here.offset + 1 {
            let tails = (&self.limits, &mut self.tails_bytes);
            entry.deliver_next(channel, (at.offset, &payload), tails, out);
            if entry.work.is_some() {
                self.release_pending(channel, now_ms, out);
                self.calm(channel);
                self.drive(channel, false, out);
            }
        } else if at.offset > here.offset {
            entry.hold(at, payload, self.limits.pending, self.limits.pending_bytes);
            self.expect(channel, at.offset, now_ms, out);
        }
    }

    /// An offset exists that was not delivered yet: it has a moment to come by itself.
    fn expect(&mut self, channel: &ScopedChannel, offset: u64, now_ms: u64, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let work = entry.work();
        work.target = work.target.max(offset);
        self.go_on_at(channel, now_ms + self.limits.gap_ms);
        self.drive(channel, false, out);
    }

    /// Delivers held messages whose turn has come.
    pub(super) fn release_pending(&mut self, channel: &ScopedChannel, now_ms: u64, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let Some(work) = entry.work.as_mut().filter(|work| !work.pending.is_empty()) else { return };
        let mut held = std::mem::take(&mut work.pending);
        work.pending_bytes = 0;
        held.sort_by_key(|(at, _)| at.offset);
        let mut expected = None;
        for (at, payload) in held {
            let Some(here) = entry.position else { return };
            if at.epoch != here.epoch {
                entry.need_read = true;
            } else if at.offset == here.offset + 1 {
                let tails = (&self.limits, &mut self.tails_bytes);
                entry.deliver_next(channel, (at.offset, &payload), tails, out);
            } else if at.offset > here.offset {
                entry.hold(at, payload, self.limits.pending, self.limits.pending_bytes);
                expected = Some(at.offset);
            }
        }
        if let Some(offset) = expected {
            let work = entry.work();
            work.target = work.target.max(offset);
            self.go_on_at(channel, now_ms + self.limits.gap_ms);
        }
    }

    /// Nothing is missing any more: there is nothing to wait for.
    fn calm(&mut self, channel: &ScopedChannel) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        let Some(work) = &mut entry.work else { return };
        let reached = entry.position.is_some_and(|position| position.offset >= work.target);
        if reached && work.failures == 0 {
            if let Some(due) = work.due.take() {
                self.agenda.remove(&(due, channel.clone()));
            }
            entry.tidy();
        }
    }

    /// Compares with the log's top, as it was a moment ago.
    pub(super) fn compare(
        &mut self,
        channel: &ScopedChannel,
        top: Option<Position>,
        now_ms: u64,
        out: &mut Vec<Action<S>>,
    ) {
        let Some(here) = self.channels.get(channel).and_then(|entry| entry.position) else { return };
        match top {
            Some(top) if top.epoch == here.epoch && top.offset <= here.offset => {}
            Some(top) if top.epoch == here.epoch => self.expect(channel, top.offset, now_ms, out),
            _ => self.recheck(channel, out),
        }
    }

    pub(super) fn recheck(&mut self, channel: &ScopedChannel, out: &mut Vec<Action<S>>) {
        let Some(entry) = self.channels.get_mut(channel) else { return };
        if entry.io == Io::Unregistering {
            return;
        }
        entry.need_read |= entry.positioned;
        self.drive(channel, false, out);
    }
}
