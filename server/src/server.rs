//! A server: what is started, in which order, and how it ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use fama_fanout::live::{Delivery, NodeId};
use fama_fanout::{Clock, Deps, Feeds, JobQueue};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::api::{self, Cursors, Limiter, Shedder};
use crate::auth::Authority;
use crate::backends::{Backends, settings};
use crate::capacity::{self, Ceiling, Pressure};
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
use crate::{admin, drain, http_server, role, sockets};

/// Connections to the admin listener at once.
const ADMIN_CONNECTIONS: usize = 64;
/// Between two drains of histograms.
const METRICS_MS: u64 = 5_000;
/// Between two looks at the memory in use.
const MEMORY_MS: u64 = 500;
/// Feeds forgotten at once when memory is scarce, and how long they were not read.
const FORGOTTEN: usize = 10_000;
const UNREAD_MS: u64 = 60_000;
/// Between two looks at whether something has ended.
const POLL: Duration = Duration::from_millis(20);

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
    jobs: Arc<dyn JobQueue>,
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
    shedder: Arc<Shedder>,
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
            shedder: Arc::new(Shedder::new(
                config.limits.requests,
                Duration::from_millis(config.server.request_ms),
            )),
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
            channels: api::Channels {
                namespaces: Arc::new(sockets::namespaces(config)?),
                log: Arc::clone(&self.backends.log),
                delivery: Arc::clone(&self.delivery),
            },
            authority: Arc::clone(&self.authority),
            clock: Arc::clone(&self.clock),
            cursors: self.cursors(config)?,
            limiter: Limiter::new(&config.limits),
            shedder: Arc::clone(&self.shedder),
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
        let shedder = Arc::clone(&self.shedder);
        Box::new(move || {
            metrics.gauge(names::IN_FLIGHT, None).set(shedder.in_flight() as f64);
            metrics.total(names::SHED, shedder.refused());
            upkeep.observe(&metrics);
            let up = health.store() == crate::health::PartHealth::Ok;
            metrics.gauge(names::STORE_UP, None).set(if up { 1.0 } else { 0.0 });
            metrics.gauge(names::UPTIME, None).set(health.uptime_ms() as f64 / 1_000.0);
            metrics.gauge(names::LAG, None).set(feeds.lag_ms() as f64 / 1_000.0);
            let (posts, ms) = feeds.fanned_out();
            metrics.total(names::FANNED_OUT, posts);
            metrics.total(names::FAN_OUT_MS, ms);
            metrics.gauge(names::REBUILDS, None).set(feeds.rebuilds.waiting() as f64);
        })
    }

    /// Looks after the memory in use: beyond the ceiling nobody new comes in, and near it caches give theirs back.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn watch_memory(&self, config: &Config, supervisor: &mut Supervisor) {
        let fifths = |bytes: u64| bytes / 5 * 4;
        let bytes = match config.limits.memory_bytes {
            0 => capacity::memory().map(fifths),
            bytes => Some(bytes),
        };
        let Some(bytes) = bytes else {
            return tracing::warn!("how much memory there is can't be read: set `limits.memory_bytes`");
        };
        self.metrics.gauge(names::MEMORY_LIMIT, None).set(bytes as f64);
        let ceiling = Arc::new(Mutex::new((Ceiling::new(bytes), Pressure::None)));
        let (clock, feeds) = (Arc::clone(&self.clock), Arc::clone(&self.backends.feeds));
        let (metrics, health) = (Arc::clone(&self.metrics), Arc::clone(&self.health));
        let gateway = Arc::clone(&self.gateway);
        supervisor.repeat("memory", move || {
            let (clock, feeds) = (Arc::clone(&clock), Arc::clone(&feeds));
            let resident = capacity::resident().unwrap_or(0);
            metrics.gauge(names::RESIDENT, None).set(resident as f64);
            let (pressure, before) = {
                let mut ceiling = ceiling.lock().unwrap_or_else(PoisonError::into_inner);
                let pressure = ceiling.0.observe(resident);
                (pressure, std::mem::replace(&mut ceiling.1, pressure))
            };
            let is_full = pressure == Pressure::Full;
            health.set_no_memory(is_full);
            if let Some(gateway) = gateway.get().and_then(Weak::upgrade) {
                gateway.set_no_memory(is_full);
            }
            if is_full && before != Pressure::Full {
                tracing::warn!(
                    resident,
                    limit = bytes,
                    "memory is full: new sockets are refused until some is free"
                );
            }
            async move {
                let unread = if is_full { 0 } else { UNREAD_MS };
                if pressure > Pressure::None {
                    let before = clock.monotonic_ms().saturating_sub(unread);
                    if let Err(error) = feeds.expire(before, FORGOTTEN).await {
                        tracing::warn!(%error, "feeds could not be forgotten");
                    }
                }
                clock.sleep(MEMORY_MS).await;
            }
        });
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
        let files = capacity::files();
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
        let connections = capacity::connections(config.limits.connections, files);
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
        world.metrics.gauge(names::FILES, None).set(files as f64);
        if connections.most < config.limits.connections {
            tracing::warn!(
                files,
                connections = connections.most,
                "`limits.connections` is more than the limit of open files allows and is lowered: raise that limit"
            );
        }
        let gateway = Arc::new(sockets::start(config, connections, parts, router).await?);
        let _ = world.gateway.set(Arc::downgrade(&gateway));
        world.watch_memory(config, &mut supervisor);
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
            jobs: world.backends.jobs,
            drain: Duration::from_secs(config.server.drain_s),
        })
    }

    /// Where clients connect.
    pub fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// `http` or `https`, as clients speak there.
    pub fn public_scheme(&self) -> &'static str {
        if self.gateway.speaks_tls() { "https" } else { "http" }
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

    /// Ends in order, within `server.drain_s`: not ready, no new sockets, those that are there are closed, work finished,
    /// leases handed back. Each step has its end in the time that was given, so none takes another's.
    pub async fn stop(self) {
        let (begun, plan) = (Instant::now(), drain::Plan::of(self.drain));
        self.health.set_draining();
        self.gateway.refuse_new();
        let has_clients = || self.gateway.connections() > 0;
        while has_clients() && begun.elapsed() < plan.lead {
            tokio::time::sleep(POLL).await;
        }
        let over = plan.evicted.saturating_sub(begun.elapsed());
        // The last to be closed have half of what is left to answer.
        let answers = plan.finished.saturating_sub(plan.evicted) / 2;
        let closed = within(begun, plan.evicted + answers, self.gateway.drain(over)).await;
        let requests = within(begun, plan.evicted + answers, self.gateway.finish_requests()).await;
        if !(closed && requests) {
            tracing::warn!("some clients did not end in time and are cut off");
        }
        if let Ok(gateway) = Arc::try_unwrap(self.gateway) {
            let stopping = tokio::task::spawn_blocking(move || gateway.stop());
            within(begun, plan.finished, async { drop(stopping.await) }).await;
        }
        // Before the tasks end: the store still takes it. What is owed stays in the outbox, for the next start.
        let step = plan.finished.saturating_sub(begun.elapsed()) / 3;
        if !within(begun, begun.elapsed() + step, nothing_waits(&*self.jobs)).await {
            tracing::warn!("some work waits for the next start");
        }
        if !within(begun, begun.elapsed() + step, self.presence.stop()).await {
            tracing::warn!("when users were seen last is not written for all of them");
        }
        self.supervisor.stop(plan.finished.saturating_sub(begun.elapsed())).await;
        let mut released = Ok(());
        within(begun, plan.finished + POLL, async { released = self.minter.release().await }).await;
        if let Err(error) = released {
            tracing::warn!(%error, "the node number could not be handed back; it is free once its lease ends");
        }
    }
}

/// Does it, at most until so long after `begun`; whether it was done.
async fn within(begun: Instant, until: Duration, what: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(until.saturating_sub(begun.elapsed()), what).await.is_ok()
}

/// Waits until all jobs are with a worker.
async fn nothing_waits(jobs: &dyn JobQueue) {
    use fama_fanout::jobs::Lane;
    for lane in [Lane::Urgent, Lane::Small, Lane::Large] {
        while jobs.depth(lane).await.is_ok_and(|waiting| waiting > 0) {
            tokio::time::sleep(POLL).await;
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
    drain::arm(server.drain);
    server.stop().await;
    ended
}
