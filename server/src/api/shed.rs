//! Requests in flight. So many are worked on at once; others wait for their turn, but only those whose turn comes before
//! their deadline: the rest is refused at once, while refusing still costs little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A new measurement counts for so much of the mean.
const WEIGHT: u64 = 32;

/// What is known of requests in flight.
pub struct Shedder {
    turns: Arc<Semaphore>,
    at_once: usize,
    deadline: Duration,
    waiting: AtomicUsize,
    /// The mean time that one takes, in microseconds.
    took_us: AtomicU64,
    refused: AtomicU64,
}

/// A request's turn, until it is dropped.
pub struct Turn<'s> {
    shedder: &'s Shedder,
    begun: Instant,
    _permit: OwnedSemaphorePermit,
}

/// It would not be its turn in time: seconds after which to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy(pub u64);

impl Shedder {
    /// So many at once, and so long for each to begin.
    pub fn new(at_once: usize, deadline: Duration) -> Self {
        let at_once = at_once.max(1);
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            at_once,
            deadline,
            waiting: AtomicUsize::new(0),
            took_us: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Those in flight, those that wait included.
    pub fn in_flight(&self) -> usize {
        self.at_once - self.turns.available_permits() + self.waiting.load(Ordering::Relaxed)
    }

    /// Refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether one that came now would have its turn in time.
    pub fn judge(&self) -> Result<(), Busy> {
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        let wait_us = wait_us(waiting, self.took_us.load(Ordering::Relaxed), self.at_once as u64);
        let deadline_us = u64::try_from(self.deadline.as_micros()).unwrap_or(u64::MAX);
        if wait_us < deadline_us { Ok(()) } else { Err(self.refuse(wait_us)) }
    }

    fn refuse(&self, wait_us: u64) -> Busy {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Busy(wait_us.div_ceil(1_000_000).clamp(1, 30))
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Result<Turn<'_>, Busy> {
        let turns = Arc::clone(&self.turns);
        let permit = if let Ok(permit) = Arc::clone(&turns).try_acquire_owned() {
            permit
        } else {
            self.judge()?;
            let _waits = Waits::new(&self.waiting);
            let turn = tokio::time::timeout(self.deadline, turns.acquire_owned()).await;
            turn.ok().and_then(Result::ok).ok_or_else(|| self.refuse(0))?
        };
        Ok(Turn { shedder: self, begun: Instant::now(), _permit: permit })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let took = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Two that end at the same moment may count as one.
        let mean = self.shedder.took_us.load(Ordering::Relaxed);
        self.shedder.took_us.store(mean - mean / WEIGHT + took / WEIGHT, Ordering::Relaxed);
    }
}

/// Counts one that waits, as long as it does.
struct Waits<'c>(&'c AtomicUsize);

impl<'c> Waits<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long the next one waits behind `waiting` others, if each takes `took_us` and `at_once` go at the same time.
fn wait_us(waiting: u64, took_us: u64, at_once: u64) -> u64 {
    waiting.saturating_mul(took_us) / at_once.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_would_wait_too_long_is_refused_at_once() {
        let shedder = Arc::new(Shedder::new(2, Duration::from_secs(10)));
        let held = [shedder.turn().await.unwrap(), shedder.turn().await.unwrap()];
        // Each took 4 s of late: five may wait (5 × 4 / 2 = 10), the sixth may not.
        shedder.took_us.store(4_000_000, Ordering::Relaxed);
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let shedder = Arc::clone(&shedder);
                tokio::spawn(async move { shedder.turn().await.map(|_| ()) })
            })
            .collect();
        while shedder.in_flight() < 7 {
            tokio::task::yield_now().await;
        }
        let asked = Instant::now();
        assert_eq!(shedder.turn().await.err(), Some(Busy(10)));
        assert!(asked.elapsed() < Duration::from_secs(1), "without waiting");
        assert_eq!(shedder.refused(), 1);
        drop(held);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
        assert_eq!(shedder.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_turn_that_does_not_come_ends_at_the_deadline() {
        let shedder = Shedder::new(1, Duration::from_millis(100));
        let _held = shedder.turn().await.unwrap();
        let asked = Instant::now();
        assert!(shedder.turn().await.is_err());
        assert!(asked.elapsed() >= Duration::from_millis(100));
        // One that gives up does not count any more.
        drop(tokio::time::timeout(Duration::from_millis(10), shedder.turn()).await);
        assert_eq!(shedder.in_flight(), 1);
    }
}
