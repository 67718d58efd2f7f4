//! The queue in memory. The outbox is the durable part: what is lost here with the process is swept from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fama_protocol::{AppId, UserId};
use fama_storage::RowId;
use futures_util::future::select;

use crate::jobs::{Job, JobQueue, Lane, Received};
use crate::sync::{Signal, lock};
use crate::{Clock, FanoutError, Result};

/// A queue for each lane, each bounded. A job that is waiting or being worked on is not taken a second time.
pub struct MemoryJobQueue {
    clock: Arc<dyn Clock>,
    capacity: usize,
    visibility_ms: u64,
    state: Mutex<State>,
    signal: Signal,
}

#[derive(Default)]
struct State {
    lanes: [LaneState; Lane::ALL.len()],
    known: BTreeSet<Name>,
    next: u64,
}

/// What makes two messages the same: row and cursor.
type Name = (AppId, RowId, Option<UserId>);

#[derive(Default)]
struct LaneState {
    ready: VecDeque<Message>,
    /// Set back, by the time it is due; the number tells those of one time apart.
    delayed: BTreeMap<(u64, u64), Message>,
    /// Received, by ticket.
    held: BTreeMap<u64, Message>,
    /// When those received come again.
    deadlines: BTreeSet<(u64, u64)>,
}

struct Message {
    job: Job,
    attempt: u32,
    since_ms: u64,
    deadline_ms: u64,
}

impl LaneState {
    fn len(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// Makes ready what is due by now.
    fn promote(&mut self, now_ms: u64) {
        while let Some(due) = self.delayed.first_entry().filter(|due| due.key().0 <= now_ms) {
            self.ready.push_back(due.remove());
        }
        while let Some((deadline, ticket)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.deadlines.remove(&(deadline, ticket));
            self.ready.extend(self.held.remove(&ticket));
        }
    }

    fn next_due(&self) -> Option<u64> {
        let delayed = self.delayed.first_key_value().map(|(key, _)| key.0);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        delayed.into_iter().chain(deadline).min()
    }

    fn take(&mut self, ticket: u64) -> Option<Message> {
        let message = self.held.remove(&ticket)?;
        self.deadlines.remove(&(message.deadline_ms, ticket));
        Some(message)
    }
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        &mut self.lanes[lane as usize]
    }

    fn take(&mut self, ticket: u64) -> Option<Message> {
        self.lanes.iter_mut().find_map(|lane| lane.take(ticket))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl MemoryJobQueue {
    /// At most `capacity` jobs in each lane; a job without an answer comes again after `visibility_ms`.
    pub fn new(clock: Arc<dyn Clock>, capacity: usize, visibility_ms: u64) -> Self {
        Self { clock, capacity, visibility_ms, state: Mutex::default(), signal: Signal::default() }
    }

    /// The next job of the lane, or when to look again.
    fn poll(&self, lane: Lane) -> std::result::Result<Received, Option<u64>> {
        let now_ms = self.clock.monotonic_ms();
        let mut state = lock(&self.state);
        state.lane(lane).promote(now_ms);
        let Some(mut message) = state.lane(lane).ready.pop_front() else {
            return Err(state.lane(lane).next_due().map(|due| due.saturating_sub(now_ms).max(1)));
        };
        let ticket = state.number();
        message.attempt += 1;
        message.deadline_ms = now_ms + self.visibility_ms;
        let received = Received {
            job: message.job.clone(),
            attempt: message.attempt,
            waited_ms: now_ms.saturating_sub(message.since_ms),
            ticket,
        };
        let lane = state.lane(lane);
        lane.deadlines.insert((message.deadline_ms, ticket));
        lane.held.insert(ticket, message);
        Ok(received)
    }
}

fn name(job: &Job) -> Name {
    (job.row.app.clone(), job.row.task.row_id(), job.after.clone())
}

#[async_trait]
impl JobQueue for MemoryJobQueue {
    async fn enqueue(&self, job: Job) -> Result<()> {
        let now_ms = self.clock.monotonic_ms();
        let mut state = lock(&self.state);
        let name = name(&job);
        if state.known.contains(&name) {
            return Ok(());
        }
        let lane = state.lane(job.lane);
        if lane.len() + lane.held.len() >= self.capacity {
            return Err(FanoutError::Full("the job queue"));
        }
        lane.ready.push_back(Message { job, attempt: 0, since_ms: now_ms, deadline_ms: 0 });
        state.known.insert(name);
        drop(state);
        self.signal.notify();
        Ok(())
    }

    async fn receive(&self, lane: Lane) -> Result<Received> {
        loop {
            let seen = self.signal.seen();
            match self.poll(lane) {
                Ok(received) => return Ok(received),
                Err(None) => self.signal.changed(seen).await,
                Err(Some(wait_ms)) => {
                    select(pin!(self.signal.changed(seen)), self.clock.sleep(wait_ms)).await;
                }
            }
        }
    }

    async fn ack(&self, ticket: u64) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(message) = state.take(ticket) {
            state.known.remove(&name(&message.job));
        }
        Ok(())
    }

    async fn nack(&self, ticket: u64, delay_ms: u64) -> Result<()> {
        let due_ms = self.clock.monotonic_ms() + delay_ms;
        let mut state = lock(&self.state);
        if let Some(message) = state.take(ticket) {
            let number = state.number();
            state.lane(message.job.lane).delayed.insert((due_ms, number), message);
        }
        drop(state);
        // Those who wait may have to wait less long now.
        self.signal.notify();
        Ok(())
    }

    async fn depth(&self, lane: Lane) -> Result<usize> {
        Ok(lock(&self.state).lane(lane).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[tokio::test(start_paused = true)]
    async fn passes_the_contract() {
        let clock = Arc::new(TestClock::new(1));
        let make = || MemoryJobQueue::new(Arc::clone(&clock) as Arc<dyn Clock>, 3, crate::contract::RETRY_MS);
        crate::contract::jobs(make, &*clock).await;
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_beyond_its_bound_but_takes_back_what_it_handed_out() {
        let clock = Arc::new(TestClock::new(1));
        let queue = MemoryJobQueue::new(clock, 2, 1_000);
        let job = crate::contract::job;
        queue.enqueue(job(1, None, Lane::Small)).await.unwrap();
        queue.enqueue(job(2, None, Lane::Small)).await.unwrap();
        let first = queue.receive(Lane::Small).await.unwrap();
        let full = queue.enqueue(job(3, None, Lane::Small)).await;
        assert!(matches!(full, Err(FanoutError::Full(_))));
        queue.enqueue(job(3, None, Lane::Large)).await.unwrap();
        queue.nack(first.ticket, 0).await.unwrap();
        assert_eq!(queue.depth(Lane::Small).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_at_work_is_not_taken_twice() {
        let clock = Arc::new(TestClock::new(1));
        let queue = MemoryJobQueue::new(clock, 9, 1_000);
        let job = crate::contract::job;
        for _ in 0..3 {
            queue.enqueue(job(1, None, Lane::Small)).await.unwrap();
        }
        let first = queue.receive(Lane::Small).await.unwrap();
        queue.enqueue(job(1, None, Lane::Small)).await.unwrap();
        assert_eq!(queue.depth(Lane::Small).await.unwrap(), 0);
        queue.ack(first.ticket).await.unwrap();
        queue.enqueue(job(1, None, Lane::Small)).await.unwrap();
        assert_eq!(queue.depth(Lane::Small).await.unwrap(), 1, "done, and owed again");
    }
}
