//! Locks and waiting, without a runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll, Waker};

use futures_util::future::{Either, select};
use futures_util::stream::{StreamExt, TryStreamExt, iter};

use crate::{Clock, Result};

/// Locks. A panic elsewhere leaves our structures whole: each change is made in one piece.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something, for at most `ms`: `None` when the time is over.
pub(crate) async fn within<T>(clock: &dyn Clock, ms: u64, what: impl Future<Output = T>) -> Option<T> {
    match select(pin!(what), clock.sleep(ms)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// All results in order, so many at once; or the first error.
pub(crate) async fn all<T, F: Future<Output = Result<T>>>(acts: Vec<F>, at_once: usize) -> Result<Vec<T>> {
    iter(acts).buffered(at_once.max(1)).try_collect().await
}

/// Says that something changed. Whoever waits looks again: no change is lost, because the number seen before looking
/// is what is waited on.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
}

#[derive(Debug, Default)]
struct SignalState {
    changes: u64,
    next: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Signal {
    /// The number to wait on. Taken before looking.
    pub(crate) fn seen(&self) -> u64 {
        lock(&self.state).changes
    }

    /// Wakes all who wait.
    pub(crate) fn notify(&self) {
        let waiting = {
            let mut state = lock(&self.state);
            state.changes += 1;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting.into_values() {
            waker.wake();
        }
    }

    /// Waits for a change after `seen`.
    pub(crate) fn changed(&self, seen: u64) -> Changed<'_> {
        Changed { signal: self, seen, key: None }
    }
}

/// See [`Signal::changed`].
pub(crate) struct Changed<'a> {
    signal: &'a Signal,
    seen: u64,
    key: Option<u64>,
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.signal.state);
        if state.changes != self.seen {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or(state.next);
        state.next = state.next.max(key + 1);
        state.waiting.insert(key, context.waker().clone());
        drop(state);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(&self.signal.state).waiting.remove(&key);
        }
    }
}
