//! The shard's task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::Shard;
use crate::gateway::stats::Levels;

/// A turn ends after so long at the latest, and a step well before.
const TURN: Duration = Duration::from_micros(400);
/// Letters, sockets, timers and members dealt with in one step.
const LETTERS: usize = 64;
const SOCKETS: usize = 32;
const TIMERS: usize = 64;
const MEMBERS: usize = 32;
/// With more letters waiting than this, none are taken from the bus.
const BACKLOG: usize = 4096;
/// Longest sleep, in milliseconds.
const NAP_MS: u64 = 1_000;

impl Shard {
    /// Runs until it is told to stop.
    pub async fn run(mut self) {
        let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        // Turns are short by themselves.
        tokio::task::coop::unconstrained(poll_fn(move |cx| self.poll_turn(cx, &mut sleep))).await;
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, sleep: &mut Pin<Box<Sleep>>) -> Poll<()> {
        let began = Instant::now();
        self.inbox.register(cx.waker());
        let mut busy = self.accept(cx);
        loop {
            self.now_ms = self.ports.clock.monotonic_ms().saturating_sub(self.start_ms);
            self.take();
            busy |= self.run_timers();
            busy |= self.read_letters(LETTERS);
            busy |= self.serve_sockets(SOCKETS);
            busy |= self.write_members(MEMBERS);
            busy |= self.evict(MEMBERS);
            busy |= self.say_members();
            self.shed();
            self.send_off();
            if self.stopped {
                return Poll::Ready(());
            }
            if began.elapsed() > TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !std::mem::take(&mut busy) && !self.has_work() && self.inbox.is_empty() {
                let wait = Duration::from_millis(self.next_due().saturating_sub(self.now_ms).min(NAP_MS));
                sleep.as_mut().reset(tokio::time::Instant::now() + wait);
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether a step left something to an earlier part of the next one: a command to a channel that this shard owns, a
    /// socket that takes bytes again.
    fn has_work(&self) -> bool {
        !(self.letters.is_empty()
            && self.ready.is_empty()
            && self.dirty.is_empty()
            && self.evictions.is_empty()
            && self.saying.is_none())
    }

    /// Takes what came from outside.
    fn take(&mut self) {
        let hints = self.letters.len() < BACKLOG
            && self.shared.inboxes.iter().all(|inbox| inbox.backlog() < self.config.limits.mailbox);
        if self.inbox.take(&mut self.letters, hints) {
            self.counts.overruns += 1;
            self.doubt();
        }
        self.inbox.take_ready(&mut self.woken);
        self.ready.extend(self.woken.drain(..));
    }

    /// Sends what this step made for others.
    fn send_off(&mut self) {
        for (letters, inbox) in self.outgoing.iter_mut().zip(&self.shared.inboxes) {
            if !letters.is_empty() {
                inbox.send_all(letters);
            }
        }
        if !self.jobs.is_empty() {
            self.worker.start(std::mem::take(&mut self.jobs), &self.inbox);
        }
    }

    fn run_timers(&mut self) -> bool {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now_ms, TIMERS, &mut due);
        let busy = due.len() >= TIMERS;
        for (index, tick) in due.drain(..) {
            if let Some(conn) = self.conns.get_mut(index)
                && conn.armed == tick
            {
                conn.armed = 0;
                self.on_time(index);
                self.schedule(index);
            }
        }
        self.due = due;
        if self.now_ms >= self.next_second_ms {
            self.next_second_ms = self.now_ms + 1_000;
            self.each_second();
        }
        self.run_table_timers();
        self.run_drain();
        busy
    }

    fn each_second(&mut self) {
        let levels = Levels {
            connections: self.conns.len(),
            channels: self.index.len(),
            // They belong to the node, not to a shard.
            users: if self.id == 0 { self.ports.presence.online() } else { 0 },
            queued: self.queued,
            strangers: if self.id == 0 { self.shared.admission.strangers() } else { 0 },
        };
        self.metrics.flush(&mut self.counts, levels);
    }

    /// When something is to be done without being told.
    fn next_due(&self) -> u64 {
        let wheel = self.wheel.next_ms().unwrap_or(u64::MAX);
        let table = self.table.next_due().unwrap_or(u64::MAX);
        let accept = if self.accept_after_ms > self.now_ms { self.accept_after_ms } else { u64::MAX };
        let drain = if self.drain.is_some() { self.now_ms + 10 } else { u64::MAX };
        wheel.min(table).min(accept).min(drain).min(self.next_second_ms)
    }
}
