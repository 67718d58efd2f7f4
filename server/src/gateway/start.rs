//! Starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use fama_fanout::live::ViewerChange;
use fama_presence::Update;
use fama_protocol::centrifuge::DisconnectCode;
use fama_protocol::{AppId, ScopedChannel, UserId};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::config::GatewayConfig;
use super::connection::token_name;
use super::http::HttpServer;
use super::inbox::{ConnKey, Mail, News};
use super::listen;
use super::node::Node;
use super::ports::Ports;
use super::shard::{Parts, Shard, Shared};
use super::work::Worker;
use crate::presence::Outlet;

/// How often a shard's runtime looks at its sockets, in tasks. A shard has one task.
const EVENT_INTERVAL: u32 = 4;

/// Between two looks at whether something has ended.
const POLL: Duration = Duration::from_millis(20);

impl Outlet for Shared {
    fn updates(&self, connection: ConnKey, updates: Vec<(UserId, Update)>) {
        if let Some(inbox) = self.inboxes.get(connection.shard()) {
            inbox.send(Mail::Updates(connection, updates));
        }
    }

    fn member(&self, channel: ScopedChannel, joined: bool, info: Bytes) {
        if let Some(inbox) = self.inboxes.get(self.owner(&channel)) {
            inbox.hint(Mail::News(News { channel, joined, info }));
        }
    }

    fn say_members(&self) {
        for inbox in &self.inboxes {
            inbox.send(Mail::SayMembers);
        }
    }
}

/// A running connection engine.
pub struct GatewayHandle {
    address: SocketAddr,
    shared: Arc<Shared>,
    http: HttpServer,
    node: Arc<Node>,
    threads: Vec<JoinHandle<()>>,
    tasks: Vec<AbortHandle>,
    stopping: watch::Sender<bool>,
}

/// The connection engine.
pub struct Gateway;

impl Gateway {
    /// Listens, and starts the shards' threads. Requests that are not for a socket go to `router`, on the runtime of
    /// `work`, as everything does that may wait.
    pub async fn start(
        config: GatewayConfig,
        ports: Ports,
        router: Router,
        work: Handle,
    ) -> io::Result<GatewayHandle> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.shards == 0 { cores } else { config.shards };
        let listeners = listen::bind(config.listen, count.min(256), config.limits.send_buffer)?;
        let address = listeners.first().ok_or(io::ErrorKind::AddrNotAvailable)?.local_addr()?;
        let shared = Arc::new(Shared::new(Arc::new(config), listeners.len()));
        ports.presence.attach(Arc::clone(&shared) as Arc<dyn Outlet>);
        let (stopping, stopped) = watch::channel(false);
        let certificates = shared.config.certificates.clone();
        let http = HttpServer::new(router, work.clone(), stopped, certificates.is_some());
        let worker = Arc::new(Worker::new(ports.clone(), Arc::clone(&shared), work.clone()));
        let node = Arc::new(Node::new(ports.clone(), Arc::clone(&shared)));
        let mut handle = GatewayHandle {
            address,
            shared: Arc::clone(&shared),
            http: http.clone(),
            node: Arc::clone(&node),
            threads: Vec::new(),
            tasks: Vec::new(),
            stopping,
        };
        for (id, listener) in (0u8..=255).zip(listeners) {
            let (ready, is_ready) = oneshot::channel();
            let (shared, ports) = (Arc::clone(&shared), ports.clone());
            let (worker, http) = (Arc::clone(&worker), http.clone());
            let make = move |listener| Parts { id, shared, ports, worker, http, listener };
            let thread = std::thread::Builder::new()
                .name(format!("shard-{id}"))
                .spawn(move || run_shard(listener, make, ready))?;
            handle.threads.push(thread);
            is_ready.await.map_err(|_| io::Error::other("a shard ended at once"))??;
        }
        let tasks = [
            work.spawn({
                let node = Arc::clone(&node);
                async move { node.hear().await }
            }),
            work.spawn({
                let node = Arc::clone(&node);
                async move { node.renew().await }
            }),
            work.spawn(async move { node.reload().await }),
        ];
        let watch = certificates.map(|certificates| work.spawn(certificates.watch()));
        handle.tasks = tasks.iter().chain(&watch).map(tokio::task::JoinHandle::abort_handle).collect();
        Ok(handle)
    }
}

fn run_shard(
    listener: std::net::TcpListener,
    make: impl FnOnce(TcpListener) -> Parts,
    ready: oneshot::Sender<io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let shard = Shard::new(make(listener));
                let _ = ready.send(Ok(()));
                shard.run().await;
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
}

impl GatewayHandle {
    /// The address in use.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether clients speak TLS.
    pub fn speaks_tls(&self) -> bool {
        self.shared.config.certificates.is_some()
    }

    /// Connections open, of whatever kind.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed) + self.http.open()
    }

    /// Sockets open; requests of the API apart.
    pub fn sockets(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Whether sockets are turned away.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Turns new sockets away from now on: 503, try another node. Those that are there stay.
    pub fn refuse_new(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Turns new sockets away while there is no memory for them.
    pub fn set_no_memory(&self, is_so: bool) {
        self.shared.no_memory.store(is_so, Ordering::Relaxed);
    }

    /// Turns new sockets away and closes those that are there with 3001, evenly over `over`: those first that are cheapest
    /// to take up again. Returns when all are gone; it may be dropped.
    pub async fn drain(&self, over: Duration) {
        self.refuse_new();
        let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        self.tell_all(|| Mail::Drain(over_ms));
        while self.sockets() > 0 {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends requests' connections with the request that is under way, and returns when there is none; it may be dropped.
    pub async fn finish_requests(&self) {
        let _ = self.stopping.send(true);
        while self.http.open() > 0 {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Closes all connections of a user.
    pub fn disconnect_user(&self, app: &AppId, user: &UserId, code: DisconnectCode) {
        if let Some(inbox) = self.shared.inboxes.get(self.shared.owner_of_user(app, user)) {
            inbox.send(Mail::DisconnectUser { app: app.clone(), user: user.clone(), code });
        }
    }

    /// Closes all connections that came with the token of this `jti`.
    pub fn disconnect_token(&self, app: &AppId, jti: &str, code: DisconnectCode) {
        let token = token_name(app, jti);
        self.tell_all(|| Mail::DisconnectToken { token, code });
    }

    /// Celebrities of these users changed: their connections join and leave channels.
    pub fn apply(&self, changes: Vec<ViewerChange>) {
        self.node.apply(changes);
    }

    fn tell_all(&self, mail: impl Fn() -> Mail) {
        for inbox in &self.shared.inboxes {
            inbox.send(mail());
        }
    }

    /// Ends everything; what is still connected is cut off. Blocks until the threads are gone, a moment.
    pub fn stop(mut self) {
        self.end();
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("a shard ended by a panic");
            }
        }
    }

    fn end(&self) {
        let _ = self.stopping.send(true);
        self.tell_all(|| Mail::Stop);
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for GatewayHandle {
    fn drop(&mut self) {
        self.end();
    }
}
