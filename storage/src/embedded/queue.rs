//! Writes on their way to the writer: a bounded queue.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::txn::Txn;
use crate::{ErrorKind, Result, StorageError};

/// Why a whole batch was not written.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub kind: ErrorKind,
    pub message: String,
}

impl Refusal {
    pub fn error(&self) -> StorageError {
        StorageError::new(self.kind, self.message.clone())
    }
}

/// One write with somebody waiting for its answer.
pub(super) trait Operation: Send {
    /// Applies it to the batch. What it returns is kept for the answer.
    fn run(&mut self, txn: &mut Txn<'_>);

    /// Answers, once the batch is on disk or was refused.
    fn answer(self: Box<Self>, refusal: Option<&Refusal>);
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(usize, Box<dyn Operation>)>,
    bytes: usize,
    closed: bool,
}

/// The queue.
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    max_ops: usize,
    max_bytes: usize,
}

impl Queue {
    pub fn new(max_ops: usize, max_bytes: usize) -> Self {
        Self { state: Mutex::default(), ready: Condvar::new(), max_ops, max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a write of about `bytes`, unless the queue is full or closed.
    pub fn push(&self, bytes: usize, operation: Box<dyn Operation>) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(StorageError::new(ErrorKind::Unavailable, "the store is closed"));
        }
        let over_bytes = !state.waiting.is_empty() && state.bytes + bytes > self.max_bytes;
        if state.waiting.len() >= self.max_ops || over_bytes {
            return Err(StorageError::new(
                ErrorKind::Unavailable,
                "too many writes wait for the disk: try again later",
            ));
        }
        state.bytes += bytes;
        state.waiting.push_back((bytes, operation));
        if state.waiting.len() == 1 {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for writes, and takes up to so many and so many bytes, but at least one. Empty once the queue is closed
    /// and all are taken.
    pub fn take(&self, max_ops: usize, max_bytes: usize) -> (usize, Vec<Box<dyn Operation>>) {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::with_capacity(state.waiting.len().min(max_ops));
        let mut total = 0;
        while let Some((bytes, _)) = state.waiting.front() {
            if !taken.is_empty() && (taken.len() >= max_ops || total + bytes > max_bytes) {
                break;
            }
            let Some((bytes, operation)) = state.waiting.pop_front() else { break };
            state.bytes -= bytes;
            total += bytes;
            taken.push(operation);
        }
        (total, taken)
    }

    /// Takes no more writes.
    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// Takes no more writes, and drops those that wait: their callers learn that nobody will answer.
    pub fn abandon(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            state.bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    /// How many writes wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}
