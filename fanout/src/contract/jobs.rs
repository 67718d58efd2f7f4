use std::pin::pin;

use fama_protocol::{AppId, PostId, UnixMs, UserId};
use fama_storage::{OutboxRow, OutboxState, Task};
use futures_util::future::{Either, select};

use crate::Clock;
use crate::jobs::{Job, JobQueue, Lane, Received};

/// The visibility timeout that queues under test are made with, in milliseconds.
pub const RETRY_MS: u64 = 2_000;

/// A job for tests.
pub fn job(post: u64, after: Option<&str>, lane: Lane) -> Job {
    let author = UserId::new("author").unwrap();
    let task = Task::FanOut { post: PostId::from_u64(post).unwrap(), author };
    let state = OutboxState::Queued { at: UnixMs(0), attempts: 0 };
    let row = OutboxRow { app: AppId::default(), task, state };
    Job { row, after: after.map(|name| UserId::new(name).unwrap()), lane }
}

/// Receives, unless there is nothing for `ms`.
async fn next(queue: &impl JobQueue, clock: &dyn Clock, lane: Lane, ms: u64) -> Option<Received> {
    match select(pin!(queue.receive(lane)), clock.sleep(ms)).await {
        Either::Left((received, _)) => Some(received.unwrap()),
        Either::Right(_) => None,
    }
}

/// Runs the contract on fresh, empty queues whose visibility timeout is [`RETRY_MS`] and which hold three jobs a lane.
pub async fn jobs<Q: JobQueue>(make: impl Fn() -> Q, clock: &dyn Clock) {
    lanes_are_apart(&make(), clock).await;
    what_is_not_answered_comes_again(&make(), clock).await;
    what_is_set_back_waits(&make(), clock).await;
}

async fn lanes_are_apart(queue: &impl JobQueue, clock: &dyn Clock) {
    queue.enqueue(job(1, Some("m"), Lane::Large)).await.unwrap();
    queue.enqueue(job(2, None, Lane::Small)).await.unwrap();
    queue.enqueue(job(2, Some("x"), Lane::Small)).await.unwrap();
    assert_eq!(queue.depth(Lane::Small).await.unwrap(), 2);
    let mut small = Vec::new();
    while let Some(received) = next(queue, clock, Lane::Small, 100).await {
        assert_eq!(received.attempt, 1);
        queue.ack(received.ticket).await.unwrap();
        small.push(received.job);
    }
    small.sort_by_key(|job| job.after.clone());
    assert_eq!(small, [job(2, None, Lane::Small), job(2, Some("x"), Lane::Small)]);
    let large = next(queue, clock, Lane::Large, 100).await.expect("the other lane's job");
    assert_eq!(large.job, job(1, Some("m"), Lane::Large));
    queue.ack(large.ticket).await.unwrap();
    queue.ack(large.ticket).await.unwrap();
    assert!(next(queue, clock, Lane::Small, 2 * RETRY_MS).await.is_none(), "what is done stays done");
    assert!(next(queue, clock, Lane::Large, 0).await.is_none());
}

async fn what_is_not_answered_comes_again(queue: &impl JobQueue, clock: &dyn Clock) {
    queue.enqueue(job(1, None, Lane::Small)).await.unwrap();
    let first = next(queue, clock, Lane::Small, 100).await.expect("a job");
    assert!(next(queue, clock, Lane::Small, RETRY_MS / 2).await.is_none(), "somebody is at it");
    let again = next(queue, clock, Lane::Small, 2 * RETRY_MS).await.expect("nobody answered");
    assert_eq!((again.attempt, &again.job), (2, &first.job));
    assert!(again.waited_ms >= RETRY_MS);
    queue.ack(first.ticket).await.unwrap();
    queue.ack(again.ticket).await.unwrap();
    assert!(next(queue, clock, Lane::Small, 2 * RETRY_MS).await.is_none());
}

async fn what_is_set_back_waits(queue: &impl JobQueue, clock: &dyn Clock) {
    queue.enqueue(job(1, None, Lane::Small)).await.unwrap();
    let first = next(queue, clock, Lane::Small, 100).await.expect("a job");
    queue.nack(first.ticket, 500).await.unwrap();
    assert_eq!(queue.depth(Lane::Small).await.unwrap(), 1);
    assert!(next(queue, clock, Lane::Small, 300).await.is_none());
    let again = next(queue, clock, Lane::Small, 1_000).await.expect("its time has come");
    assert_eq!(again.attempt, 2);
    queue.ack(again.ticket).await.unwrap();
}
