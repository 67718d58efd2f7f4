//! For tests of this crate.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use fama_protocol::{PostId, UnixMs};
use tokio::time::Instant;

use crate::Clock;

/// tokio's clock, which tests may pause, and a random sequence from a seed.
pub(crate) struct TestClock {
    began: Instant,
    state: AtomicU64,
}

impl TestClock {
    pub(crate) fn new(seed: u64) -> Self {
        Self { began: Instant::now(), state: AtomicU64::new(seed) }
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> UnixMs {
        PostId::EPOCH.plus(10_000_000_000 + self.monotonic_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn random(&self) -> u64 {
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    }
}
