//! Time that goes when a test says so.

use async_trait::async_trait;
use fama_fanout::Clock;
use fama_protocol::UnixMs;
use tokio::sync::watch;

/// A clock set by hand. It begins at the real time, and monotonic at one: zero means never.
pub struct HandClock {
    began: UnixMs,
    passed_ms: watch::Sender<u64>,
}

impl Default for HandClock {
    fn default() -> Self {
        let now = u64::try_from(crate::token::now_s()).expect("after 1970") * 1_000;
        Self { began: UnixMs(now), passed_ms: watch::Sender::new(1) }
    }
}

impl HandClock {
    /// Time goes on by so many seconds; what slept until then wakes.
    pub fn pass_s(&self, seconds: u64) {
        self.passed_ms.send_modify(|ms| *ms += seconds * 1_000);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> UnixMs {
        self.began.plus(*self.passed_ms.borrow())
    }

    fn monotonic_ms(&self) -> u64 {
        *self.passed_ms.borrow()
    }

    fn random(&self) -> u64 {
        rand::random()
    }

    async fn sleep(&self, ms: u64) {
        let mut passed = self.passed_ms.subscribe();
        let end = self.monotonic_ms().saturating_add(ms);
        // The sender lives as long as the clock.
        let _ = passed.wait_for(|now| *now >= end).await;
    }
}
