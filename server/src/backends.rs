//! The one place that chooses what the server stands on.

use std::path::PathBuf;
use std::sync::Arc;

use fama_fanout::live::{
    Bus, Delivery, LiveLog, MemoryBus, MemoryLiveLog, MemoryLogLimits, MemoryRegistry, NodeId, Registry,
};
use fama_fanout::{Clock, FeedCache, JobQueue, MemoryFeedCache, MemoryJobQueue, Settings};
use fama_presence::MemoryBackend;
use fama_storage::Stores;
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore, Health};

use crate::config::Config;
use crate::health::{PartHealth, Probe};
use crate::telemetry::{Metrics, names};

/// Jobs that wait in memory, in each lane. More stay in the outbox and are swept.
const JOBS: usize = 100_000;
/// A job without an answer comes again after so long.
const JOB_VISIBLE_MS: u64 = 60_000;
/// Channels with subscribers.
const CHANNELS: usize = 4_000_000;
/// Messages, and bytes of them, that may wait for the node.
const BUS_MESSAGES: usize = 65_536;
const BUS_BYTES: usize = 256 << 20;

/// What the server stands on.
#[derive(Clone)]
pub struct Backends {
    /// The truth.
    pub stores: Stores,
    /// Feeds.
    pub feeds: Arc<dyn FeedCache>,
    /// Work for the workers.
    pub jobs: Arc<dyn JobQueue>,
    /// Live logs.
    pub log: Arc<dyn LiveLog>,
    /// Which nodes hold subscribers.
    pub registry: Arc<dyn Registry>,
    /// Messages between nodes.
    pub bus: Arc<dyn Bus>,
    /// Who is connected where.
    pub presence: Arc<dyn fama_presence::Backend>,
    /// How they are.
    pub probe: Arc<dyn Probe>,
    /// What only some backends need done.
    pub upkeep: Arc<dyn Upkeep>,
    /// Whether they live in this process: nobody else has a part in them.
    pub in_process: bool,
    /// A folder for small secrets of this installation.
    pub folder: PathBuf,
}

/// What only some backends need done.
pub trait Upkeep: Send + Sync {
    /// A node begins to listen.
    fn attach(&self, node: &NodeId);
    /// To be called every few seconds: forgets what ended.
    fn sweep(&self, now_ms: u64);
    /// Sets gauges.
    fn observe(&self, metrics: &Metrics);
}

/// Opens what the configuration asks for. Blocks while a store is opened. The error says what to do.
pub fn connect(config: &Config, clock: &Arc<dyn Clock>) -> Result<Backends, String> {
    let cluster = &config.cluster;
    if !cluster.scylla.is_empty() || cluster.redis.is_some() || cluster.nats.is_some() {
        return Err("`cluster.scylla`, `cluster.redis` and `cluster.nats` are set, but this build has no cluster backends yet: \
             unset them to run on the embedded store"
            .into());
    }
    embedded(config, clock)
}

fn embedded(config: &Config, clock: &Arc<dyn Clock>) -> Result<Backends, String> {
    let path = &config.storage.path;
    let store = EmbeddedStore::open(path, EmbeddedOptions::default())
        .map_err(|error| format!("the store in {} can't be opened: {error}", path.display()))?;
    let log = Arc::new(MemoryLiveLog::new(MemoryLogLimits::default()));
    let registry = Arc::new(MemoryRegistry::new(CHANNELS));
    let bus = Arc::new(MemoryBus::new(BUS_MESSAGES, BUS_BYTES));
    let parts = Arc::new(Embedded {
        store: store.clone(),
        log: Arc::clone(&log),
        registry: Arc::clone(&registry),
        bus: Arc::clone(&bus),
    });
    Ok(Backends {
        stores: store.stores(),
        feeds: Arc::new(MemoryFeedCache::new(config.feed.hot_cap, config.feed.cached_feeds, clock.random())),
        jobs: Arc::new(MemoryJobQueue::new(Arc::clone(clock), JOBS, JOB_VISIBLE_MS)),
        log,
        registry,
        bus,
        presence: Arc::new(MemoryBackend::new(CHANNELS, BUS_MESSAGES)),
        probe: Arc::clone(&parts) as Arc<dyn Probe>,
        upkeep: parts,
        in_process: true,
        folder: path.clone(),
    })
}

struct Embedded {
    store: EmbeddedStore,
    log: Arc<MemoryLiveLog>,
    registry: Arc<MemoryRegistry>,
    bus: Arc<MemoryBus>,
}

impl Probe for Embedded {
    fn store(&self) -> PartHealth {
        match self.store.health() {
            Health::Good => PartHealth::Ok,
            Health::Full => PartHealth::Degraded,
            Health::Poisoned => PartHealth::Down,
        }
    }

    fn cache(&self) -> PartHealth {
        PartHealth::Ok
    }

    fn bus(&self) -> PartHealth {
        PartHealth::Ok
    }
}

impl Upkeep for Embedded {
    fn attach(&self, node: &NodeId) {
        self.bus.attach(node);
    }

    fn sweep(&self, now_ms: u64) {
        self.log.sweep(now_ms);
        self.registry.sweep(now_ms);
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn observe(&self, metrics: &Metrics) {
        let stats = self.store.stats();
        metrics.total(names::COMMITS, stats.commits);
        metrics.total(names::OPERATIONS, stats.operations);
        metrics.gauge(names::WAITING, None).set(stats.waiting as f64);
    }
}

impl Backends {
    /// Sending to sockets, as this node.
    pub fn delivery(&self, clock: &Arc<dyn Clock>, node: &NodeId) -> Delivery {
        Delivery::new(
            Arc::clone(&self.log),
            Arc::clone(&self.registry),
            Arc::clone(&self.bus),
            Arc::clone(clock),
            node.clone(),
        )
    }
}

/// How fan-out works, by the configuration.
pub fn settings(config: &Config, in_process: bool) -> Settings {
    Settings {
        celebrity_up: config.fanout.celebrity_up,
        celebrity_down: config.fanout.celebrity_down,
        dwell_ms: config.fanout.dwell_s.saturating_mul(1_000),
        retention_days: config.feed.retention_days,
        active_days: config.fanout.active_days,
        follow_cap: config.graph.follow_cap,
        relation_cap: config.graph.relation_cap,
        sole_writer: in_process,
        ..Settings::default()
    }
}
