//! Work for fan-out workers: at least once, in no order.

use async_trait::async_trait;
use fama_protocol::UserId;
use fama_storage::{OutboxRow, Priority, Task};

use crate::Result;

/// Which queue: large authors never delay small ones, and sends of low priority nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// First messages, and everything small.
    Small,
    /// Continuations of authors with many followers.
    Large,
    /// What the app sends before anything else.
    Urgent,
    /// What the app sends behind everything else.
    Bulk,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Small, Self::Large, Self::Urgent, Self::Bulk];

    /// Where a task begins.
    pub fn of(task: &Task) -> Self {
        match task {
            Task::Notify { priority: Priority::Urgent, .. } => Self::Urgent,
            Task::Notify { priority: Priority::Bulk, .. } => Self::Bulk,
            _ => Self::Small,
        }
    }

    /// Where it goes on.
    #[must_use]
    pub fn onward(self) -> Self {
        if self == Self::Small { Self::Large } else { self }
    }
}

/// A message: an outbox row's task from a cursor on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The work owed.
    pub row: OutboxRow,
    /// Followers up to this one are served. `None` at the start.
    pub after: Option<UserId>,
    /// The lane.
    pub lane: Lane,
}

/// A job received. Without `ack` or `nack` it comes again, after the queue's visibility timeout.
#[derive(Debug, Clone)]
pub struct Received {
    /// The job.
    pub job: Job,
    /// 1 at first.
    pub attempt: u32,
    /// Since it was handed over first, in milliseconds: the lag.
    pub waited_ms: u64,
    /// Names the delivery for [`JobQueue::ack`] and [`JobQueue::nack`].
    pub ticket: u64,
}

/// The queue. A full queue refuses with [`crate::FanoutError::Full`]: the outbox row stays and is swept later.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Hands a job over. The same job (row and cursor) twice may be one or two deliveries.
    async fn enqueue(&self, job: Job) -> Result<()>;

    /// Waits for a job of the lane.
    async fn receive(&self, lane: Lane) -> Result<Received>;

    /// The job is done. A ticket that is not known any more is fine.
    async fn ack(&self, ticket: u64) -> Result<()>;

    /// The job failed: again after `delay_ms`.
    async fn nack(&self, ticket: u64, delay_ms: u64) -> Result<()>;

    /// Jobs waiting, those set back included.
    async fn depth(&self, lane: Lane) -> Result<usize>;
}
