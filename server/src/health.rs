//! Whether this process works, and whether it wants new work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fama_fanout::Clock;
use serde::Serialize;
use utoipa::ToSchema;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartHealth {
    /// It works.
    Ok,
    /// It works in part: reading, for one.
    Degraded,
    /// It does not work.
    Down,
}

/// What backends say of themselves, without asking anybody over a network.
pub trait Probe: Send + Sync {
    /// The durable store.
    fn store(&self) -> PartHealth;
    /// The feed cache.
    fn cache(&self) -> PartHealth;
    /// What carries messages between nodes.
    fn bus(&self) -> PartHealth;
}

/// The health of this process.
pub struct Health {
    clock: Arc<dyn Clock>,
    started_ms: u64,
    probe: Arc<dyn Probe>,
    ready: AtomicBool,
    draining: AtomicBool,
    no_memory: AtomicBool,
}

/// What `/health` answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    /// The worst that matters: `down` if nothing can be written or read.
    pub status: PartHealth,
    /// The durable store.
    pub store: PartHealth,
    /// The feed cache.
    pub cache: PartHealth,
    /// What carries messages between nodes.
    pub bus: PartHealth,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Of the program.
    pub version: &'static str,
    /// Sockets.
    pub connections: usize,
}

impl Health {
    /// Not ready yet.
    pub fn new(clock: Arc<dyn Clock>, probe: Arc<dyn Probe>) -> Self {
        let started_ms = clock.monotonic_ms();
        let [ready, draining, no_memory] = [(); 3].map(|()| AtomicBool::new(false));
        Self { clock, started_ms, probe, ready, draining, no_memory }
    }

    /// Every part has started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// No new work from now on.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether there is no memory for anybody new.
    pub fn set_no_memory(&self, is_so: bool) {
        self.no_memory.store(is_so, Ordering::Release);
    }

    /// Whether it is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether new work may come. Trouble of a part is not told here: all nodes share it, and sending everybody away
    /// would make it worse.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_draining() && !self.no_memory.load(Ordering::Acquire)
    }

    /// Milliseconds since the start.
    pub fn uptime_ms(&self) -> u64 {
        self.clock.monotonic_ms().saturating_sub(self.started_ms)
    }

    /// How the durable store is.
    pub fn store(&self) -> PartHealth {
        self.probe.store()
    }

    /// Everything.
    pub fn report(&self, connections: usize) -> Report {
        let (store, cache, bus) = (self.probe.store(), self.probe.cache(), self.probe.bus());
        let status = match (store, cache, bus) {
            (PartHealth::Down, ..) => PartHealth::Down,
            (PartHealth::Ok, PartHealth::Ok, PartHealth::Ok) => PartHealth::Ok,
            _ => PartHealth::Degraded,
        };
        Report {
            status,
            store,
            cache,
            bus,
            uptime_s: self.uptime_ms() / 1_000,
            version: env!("CARGO_PKG_VERSION"),
            connections,
        }
    }
}
