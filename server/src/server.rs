//! A server: what is started, in which order, and how it ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use fama_fanout::live::{Delivery, NodeId};
use fama_fanout::{Clock, Deps, Feeds};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::api::{self, Cursors, Limiter};
use crate::auth::Authority;
use crate::backends::{Backends, settings};
use crate::config::Config;
use crate::demo::Demo;
use crate::gateway::GatewayHandle;
use crate::health::Health;
use crate::ids::Minter;
use crate::presence::{self, Presence};
use crate::revocation::Revocations;
use crate::supervisor::{self, Parts, Supervisor};
use crate::telemetry::metrics::Shared;
use crate::telemetry::{Metrics, names};
use crate::{admin, http_server, role, sockets};

/// Connections to the admin listener at once.
const ADMIN_CONNECTIONS: usize = 64;
/// Between two drains of histograms.
const METRICS_MS: u64 = 5_000;
/// Kept of the time to stop for the store, which writes what waits.
const LAST_S: u64 = 2;
/// Of the time to stop, the part in which sockets are closed: one after the other, so that they do not all come back at once.
const DRAIN_PART: u32 = 2;

/// A server that runs.
pub struct Server {
    public: SocketAddr,
    admin: SocketAddr,
    supervisor: Supervisor,
    health: Arc<Health>,
    presence: Arc<Presence>,
    minter: Arc<Minter>,
    drained: Arc<Notify>,
    drain: Duration,
    gateway: Arc<GatewayHandle>,
}

/// Everything that the listeners share.
struct World {
    clock: Arc<dyn Clock>,
    backends: Backends,
    feeds: Feeds,
    delivery: Arc<Delivery>,
    minter: Arc<Minter>,
    presence: Arc<Presence>,
    authority: Arc<Authority>,
    revocations: Arc<Revocations>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    node: NodeId,
    /// Set once it is started; it is started last.
    gateway: Arc<OnceLock<Weak<GatewayHandle>>>,
}

impl World {
    async fn new(config: &Config, backends: Backends, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let minter = Minter::lease(backends.stores.clone(), Arc::clone(&clock), clock.now())
            .await
            .context("no node number could be leased")?;
        let node = NodeId(format!("{}.{:016x}", minter.number(), clock.random()).into());
        backends.upkeep.attach(&node);
        let delivery = Arc::new(backends.delivery(&clock, &node));
        let feeds = Feeds::new(Deps {
            stores: backends.stores.clone(),
            feeds: Arc::clone(&backends.feeds),
            jobs: Arc::clone(&backends.jobs),
            delivery: Arc::clone(&delivery),
            clock: Arc::clone(&clock),
            settings: settings(config, backends.in_process),
        });
        let authority = Authority::new(&config.auth, Arc::clone(&clock)).map_err(|why| anyhow!(why))?;
        let presence = presence(config, &backends, &clock, &node);
        let gateway = Arc::default();
        let revocations = Revocations::new(
            Arc::clone(&backends.stores.revocations),
            Arc::clone(authority.revoked()),
            Arc::clone(&clock),
            Arc::clone(&gateway),
        );
        revocations.load().await.context("revoked tokens could not be read")?;
        Ok(Self {
            presence: Arc::new(presence),
            health: Arc::new(Health::new(Arc::clone(&clock), Arc::clone(&backends.probe))),
            metrics: Arc::new(Metrics::new()?),
            authority: Arc::new(authority),
            minter: Arc::new(minter),
            feeds,
            gateway,
            revocations: Arc::new(revocations),
            node,
            delivery,
            backends,
            clock,
        })
    }

    fn connections(&self) -> Box<dyn Fn() -> usize + Send + Sync> {
        let gateway = Arc::clone(&self.gateway);
        Box::new(move || gateway.get().and_then(Weak::upgrade).map_or(0, |gateway| gateway.sockets()))
    }

    fn api(&self, config: &Config, demo: Option<Demo>) -> anyhow::Result<api::State> {
        Ok(Arc::new(api::Inner {
            stores: self.backends.stores.clone(),
            feeds: self.feeds.clone(),
            minter: Arc::clone(&self.minter),
            presence: Arc::clone(&self.presence),
            authority: Arc::clone(&self.authority),
            clock: Arc::clone(&self.clock),
            cursors: self.cursors(config)?,
            limiter: Limiter::new(&config.limits),
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            connections: self.connections(),
            allowed_origins: config.server.allowed_origins.clone(),
            trusted_proxies: config
                .server
                .trusted_proxies
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            body_bytes: config.server.body_bytes,
            body_ms: config.server.body_ms,
            request_ms: config.server.request_ms,
            follow_cap: config.graph.follow_cap,
            relation_cap: config.graph.relation_cap,
            page: config.demo.page,
            demo,
        }))
    }

    fn cursors(&self, config: &Config) -> anyhow::Result<Cursors> {
        if let Some(secret) = &config.storage.cursor_secret {
            return Ok(Cursors::new(secret.expose().as_bytes()));
        }
        let mut random = [0; 32];
        for chunk in random.chunks_mut(8) {
            chunk.copy_from_slice(&self.clock.random().to_be_bytes());
        }
        let folder = &self.backends.folder;
        Cursors::from_folder(folder, random)
            .with_context(|| format!("the key of cursors in {} can't be read or made", folder.display()))
    }

    fn admin(&self, config: &Config, drained: &Arc<Notify>) -> admin::Inner {
        let drained = Arc::clone(drained);
        admin::Inner {
            stores: self.backends.stores.clone(),
            feeds: self.feeds.clone(),
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            connections: self.connections(),
            revocations: Arc::clone(&self.revocations),
            drain: Box::new(move || drained.notify_one()),
            observe: self.observer(),
            clock: Arc::clone(&self.clock),
            token: config.server.admin_token.clone(),
        }
    }

    /// Sets gauges. What asks the store is left to the task that runs every few seconds.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn observer(&self) -> Box<dyn Fn() + Send + Sync> {
        let (metrics, upkeep) = (Arc::clone(&self.metrics), Arc::clone(&self.backends.upkeep));
        let (health, feeds) = (Arc::clone(&self.health), self.feeds.clone());
        Box::new(move || {
            upkeep.observe(&metrics);
            let up = health.store() == crate::health::PartHealth::Ok;
            metrics.gauge(names::STORE_UP, None).set(if up { 1.0 } else { 0.0 });
            metrics.gauge(names::UPTIME, None).set(health.uptime_ms() as f64 / 1_000.0);
            metrics.gauge(names::LAG, None).set(feeds.lag_ms() as f64 / 1_000.0);
            metrics.gauge(names::REBUILDS, None).set(feeds.rebuilds.waiting() as f64);
        })
    }

    fn start_tasks(&self, config: &Config, supervisor: &mut Supervisor) {
        let parts = Parts {
            stores: self.backends.stores.clone(),
            feeds: self.feeds.clone(),
            jobs: Arc::clone(&self.backends.jobs),
            delivery: Arc::clone(&self.delivery),
            minter: Arc::clone(&self.minter),
            clock: Arc::clone(&self.clock),
            upkeep: Arc::clone(&self.backends.upkeep),
            workers: (config.fanout.workers_small, config.fanout.workers_large),
        };
        supervisor::start(supervisor, &config.server.roles, &parts);
        presence::start(supervisor, &self.presence);
        let authority = Arc::clone(&self.authority);
        supervisor.repeat("token keys", move || {
            let authority = Arc::clone(&authority);
            async move {
                authority.run().await;
                std::future::pending::<()>().await;
            }
        });
        let revocations = Arc::clone(&self.revocations);
        supervisor.repeat("revocations", move || {
            let revocations = Arc::clone(&revocations);
            async move { revocations.run().await }
        });
        let (metrics, stores) = (Arc::clone(&self.metrics), self.backends.stores.clone());
        let (jobs, clock) = (Arc::clone(&self.backends.jobs), Arc::clone(&self.clock));
        supervisor.repeat("metrics", move || {
            let (metrics, stores) = (Arc::clone(&metrics), stores.clone());
            let (jobs, clock) = (Arc::clone(&jobs), Arc::clone(&clock));
            async move {
                metrics.upkeep();
                measure(&metrics, &stores, &*jobs).await;
                clock.sleep(METRICS_MS).await;
            }
        });
    }
}

fn presence(config: &Config, backends: &Backends, clock: &Arc<dyn Clock>, node: &NodeId) -> Presence {
    let deps = presence::Deps {
        backend: Arc::clone(&backends.presence),
        store: Arc::clone(&backends.stores.presence),
        graph: Arc::clone(&backends.stores.graph),
        clock: Arc::clone(clock),
        node: fama_presence::Node(Arc::clone(&node.0)),
    };
    let settings = presence::Settings {
        per_user: config.limits.connections_per_user,
        grace_ms: config.presence.grace_s.saturating_mul(1_000),
        visibility: config.presence.visibility,
        shared: !backends.in_process,
    };
    Presence::new(deps, settings)
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
async fn measure(metrics: &Metrics, stores: &fama_storage::Stores, jobs: &dyn fama_fanout::JobQueue) {
    use fama_fanout::jobs::Lane;
    if let Ok(rows) = stores.outbox.backlog().await {
        metrics.gauge(names::OUTBOX, None).set(rows as f64);
    }
    let lanes =
        [(Lane::Small, "small"), (Lane::Large, "large"), (Lane::Urgent, "urgent"), (Lane::Bulk, "bulk")];
    for (lane, name) in lanes {
        if let Ok(waiting) = jobs.depth(lane).await {
            metrics.gauge(names::JOBS, Some(("lane", name))).set(waiting as f64);
        }
    }
}

async fn listen(address: SocketAddr, key: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| match address.port() {
        0 => format!("`{key}`: can't listen on {address}"),
        port => format!("`{key}`: can't listen on {address}; is another server on port {port}? `{key}` chooses another one"),
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Server {
    /// Starts everything that the configuration asks for.
    pub async fn start(
        config: &Config,
        backends: Backends,
        clock: Arc<dyn Clock>,
        demo: Option<Demo>,
    ) -> anyhow::Result<Self> {
        role::check(&config.server.roles, backends.in_process).map_err(|why| anyhow!(why))?;
        let world = World::new(config, backends, clock).await?;
        warn_about(config, &world.authority);
        // The connection engine counts by macros. Another server of the same process has the rest of its own.
        let _ = metrics::set_global_recorder(Shared(Arc::clone(&world.metrics)));
        let mut supervisor = Supervisor::default();
        let drained = Arc::new(Notify::new());
        let (admin_listener, admin) = listen(config.server.admin_listen, "server.admin_listen").await?;
        world.start_tasks(config, &mut supervisor);
        let router = api::router(world.api(config, demo)?);
        let parts = sockets::Parts {
            backends: &world.backends,
            feeds: &world.feeds,
            delivery: Arc::clone(&world.delivery),
            presence: Arc::clone(&world.presence),
            authority: Arc::clone(&world.authority),
            clock: Arc::clone(&world.clock),
            node: world.node.clone(),
        };
        let gateway = Arc::new(sockets::start(config, parts, router).await?);
        let _ = world.gateway.set(Arc::downgrade(&gateway));
        let router = admin::router(world.admin(config, &drained));
        supervisor.spawn("admin listener", |stop| {
            http_server::serve(admin_listener, router, ADMIN_CONNECTIONS, stop)
        });
        world.health.set_ready();
        Ok(Self {
            public: gateway.local_addr(),
            gateway,
            admin,
            supervisor,
            health: world.health,
            presence: world.presence,
            minter: world.minter,
            drained,
            drain: Duration::from_secs(config.server.drain_s),
        })
    }

    /// Where clients connect.
    pub fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// Where operators do.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Waits until something ends the server: a task that failed (an error), or an operator's drain.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let drained = Arc::clone(&self.drained);
        tokio::select! {
            why = self.supervisor.failed() => Err(anyhow!(why)),
            () = drained.notified() => Ok(()),
        }
    }

    /// Ends in order, within `server.drain_s`: not ready, no new work, work finished, leases handed back.
    pub async fn stop(self) {
        self.health.set_draining();
        let most = self.drain.saturating_sub(Duration::from_secs(LAST_S)).max(Duration::from_millis(500));
        let end = Instant::now() + most;
        let sockets = self.gateway.drain(most / DRAIN_PART);
        if tokio::time::timeout(most * 3 / 4, sockets).await.is_err() {
            tracing::warn!("some sockets did not close in time and are cut off");
        }
        if let Ok(gateway) = Arc::try_unwrap(self.gateway) {
            let _ = tokio::task::spawn_blocking(move || gateway.stop()).await;
        }
        // Before the tasks end: the store still takes it.
        let left = end.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left / 2, self.presence.stop()).await.is_err() {
            tracing::warn!("when users were seen last is not written for all of them");
        }
        self.supervisor.stop(end.saturating_duration_since(Instant::now())).await;
        if let Err(error) = self.minter.release().await {
            tracing::warn!(%error, "the node number could not be handed back; it is free once its lease ends");
        }
    }
}

/// Checks what only shows when things are put together: keys in files, roles.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let in_process = config.cluster.scylla.is_empty();
    role::check(&config.server.roles, in_process).map_err(|why| anyhow!(why))?;
    sockets::check(config)?;
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock::new());
    Authority::new(&config.auth, clock).map(|_| ()).map_err(|why| anyhow!(why))
}

fn warn_about(config: &Config, authority: &Authority) {
    if config.auth.insecure {
        tracing::warn!(
            "`auth.insecure` is set: ANYBODY who reaches this server reads and writes as anybody. For development only"
        );
    }
    if !authority.is_configured() {
        tracing::warn!(
            "nobody can sign in: set `auth.hmac_secret`, `auth.public_key_file`, `auth.jwks_url` or `auth.api_keys`, or start with --dev, which makes a secret"
        );
    }
}

/// Runs a server until `shutdown` is there, and ends it in order. `started` is told the addresses in use.
pub async fn run(
    config: &Config,
    backends: Backends,
    clock: Arc<dyn Clock>,
    demo: Option<Demo>,
    shutdown: impl Future<Output = ()>,
    started: impl AsyncFnOnce(&Server) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut server = Server::start(config, backends, clock, demo).await?;
    started(&server).await?;
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        ended = server.ended() => ended,
    };
    server.stop().await;
    ended
}
