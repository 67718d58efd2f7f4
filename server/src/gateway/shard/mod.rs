//! A shard: a thread with its listener, its connections and its channels. One task does it all, in turns: it takes what came,
//! writes what is due, and yields before half a millisecond is over.

mod conn;
mod deliver;
mod drain;
mod hub;
mod letters;
mod members;
mod shed;
mod sockets;
mod turn;
mod websocket;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fama_fanout::live::{ChannelTable, TableLimits};
use fama_protocol::{AppId, ScopedChannel, UserId};
use tokio::net::TcpListener;

use super::admission::Admission;
use super::config::GatewayConfig;
use super::connection::{self, Action, Replies, Slot};
use super::http::HttpServer;
use super::inbox::{ConnKey, Inbox, Mail, TableAction};
use super::index::Index;
use super::ports::Ports;
use super::slots::Slots;
use super::stats::{Counts, Metrics};
use super::timers::{Tick, Wheel, tick_of};
use super::work::{Job, Worker};
use conn::{Conn, Stage};
use drain::Drain;

/// Bytes read from a socket at once.
const SCRATCH: usize = 32 << 10;

/// What all shards share.
pub struct Shared {
    /// Settings.
    pub config: Arc<GatewayConfig>,
    /// One for each shard.
    pub inboxes: Vec<Arc<Inbox>>,
    /// Sockets open on all shards.
    pub connections: AtomicUsize,
    /// Who may come in.
    pub admission: Arc<Admission>,
    /// Bytes that wait for sockets on all shards.
    pub queued: AtomicUsize,
    /// New sockets are to go elsewhere.
    pub draining: AtomicBool,
    /// No memory for new sockets.
    pub no_memory: AtomicBool,
    /// Tenants that had connections here.
    pub apps: Mutex<HashSet<AppId>>,
    hasher: RandomState,
}

impl Shared {
    /// For so many shards, at most 256.
    pub fn new(config: Arc<GatewayConfig>, shards: usize) -> Self {
        let inboxes =
            (0..shards.clamp(1, 256)).map(|_| Arc::new(Inbox::new(config.limits.mailbox))).collect();
        Self {
            admission: Arc::new(Admission::new(config.limits.admission)),
            config,
            inboxes,
            connections: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            no_memory: AtomicBool::new(false),
            apps: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// The same tenant, in the one copy of it that all connections share.
    pub fn share(&self, app: AppId) -> AppId {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(app) = apps.get(&app) {
            return app.clone();
        }
        apps.insert(app.clone());
        app
    }

    /// The shard that owns a channel.
    pub fn owner(&self, channel: &ScopedChannel) -> usize {
        self.pick(self.hasher.hash_one(channel))
    }

    /// The shard that owns a user.
    pub fn owner_of_user(&self, app: &AppId, user: &UserId) -> usize {
        self.pick(self.hasher.hash_one((app, user)))
    }

    fn pick(&self, hash: u64) -> usize {
        usize::try_from(hash % self.inboxes.len() as u64).unwrap_or(0)
    }
}

/// One shard.
pub struct Shard {
    id: u8,
    shared: Arc<Shared>,
    config: Arc<GatewayConfig>,
    ports: Ports,
    worker: Arc<Worker>,
    http: HttpServer,
    inbox: Arc<Inbox>,
    listener: TcpListener,
    conns: Slots<Conn>,
    index: Index,
    wheel: Wheel,
    // The channels that this shard owns.
    table: ChannelTable<ConnKey>,
    table_actions: Vec<TableAction>,
    next_touch_ms: u64,
    next_second_ms: u64,
    // Work to be done.
    letters: VecDeque<Mail>,
    ready: VecDeque<u32>,
    dirty: VecDeque<Slot>,
    evictions: VecDeque<(u32, Slot)>,
    /// Connections, from one to another, whose being in channels is to be said again.
    saying: Option<(u32, u32)>,
    // Work for others, sent at the end of a turn.
    outgoing: Vec<Vec<Mail>>,
    jobs: Vec<Job>,
    // Buffers that are used again and again.
    scratch: Vec<u8>,
    replies: Replies,
    actions: Vec<Action>,
    due: Vec<(u32, Tick)>,
    members: Vec<u32>,
    woken: Vec<u32>,
    // Time.
    start_ms: u64,
    now_ms: u64,
    accept_after_ms: u64,
    /// A descriptor that is let go of when there is none left, to take one client and tell it so, or answer a probe.
    spare: Option<File>,
    next_warning_ms: u64,
    shed_after_ms: u64,
    drain: Option<Drain>,
    stopped: bool,
    // Counting.
    counts: Counts,
    metrics: Metrics,
    queued: usize,
    secret: [RandomState; 2],
}

/// What a shard is made of.
pub struct Parts {
    /// Its number.
    pub id: u8,
    /// What all shards share.
    pub shared: Arc<Shared>,
    /// What the engine needs.
    pub ports: Ports,
    /// Does what takes long.
    pub worker: Arc<Worker>,
    /// Takes requests that are not for a socket.
    pub http: HttpServer,
    /// Its listener, registered with the shard's own runtime.
    pub listener: TcpListener,
}

/// A descriptor that can be let go of.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Shard {
    /// Nothing is connected.
    pub fn new(parts: Parts) -> Self {
        let Parts { id, shared, ports, worker, http, listener } = parts;
        let config = Arc::clone(&shared.config);
        let inbox = Arc::clone(&shared.inboxes[usize::from(id) % shared.inboxes.len()]);
        let outgoing = shared.inboxes.iter().map(|_| Vec::new()).collect();
        let start_ms = ports.clock.monotonic_ms();
        Self {
            id,
            inbox,
            listener,
            conns: Slots::new(),
            index: Index::new(),
            wheel: Wheel::new(),
            table: ChannelTable::new(TableLimits::default()),
            table_actions: Vec::new(),
            next_touch_ms: 0,
            next_second_ms: 0,
            letters: VecDeque::new(),
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            evictions: VecDeque::new(),
            saying: None,
            outgoing,
            jobs: Vec::new(),
            scratch: vec![0; SCRATCH],
            replies: Replies::default(),
            actions: Vec::new(),
            due: Vec::new(),
            members: Vec::new(),
            woken: Vec::new(),
            start_ms,
            now_ms: 0,
            accept_after_ms: 0,
            spare: spare(),
            next_warning_ms: 0,
            shed_after_ms: 0,
            drain: None,
            stopped: false,
            counts: Counts::default(),
            metrics: Metrics::new(id),
            queued: 0,
            secret: [RandomState::new(), RandomState::new()],
            shared,
            config,
            ports,
            worker,
            http,
        }
    }

    /// A letter to a shard, this one included.
    fn post(&mut self, shard: usize, mail: Mail) {
        if shard == usize::from(self.id) {
            self.letters.push_back(mail);
        } else if let Some(letters) = self.outgoing.get_mut(shard) {
            letters.push(mail);
        }
    }

    fn key(&self, index: u32) -> ConnKey {
        ConnKey::new(self.id, index, self.conns.generation(index).unwrap_or_default())
    }

    /// The number of a connection that is still there.
    fn find(&self, key: ConnKey) -> Option<u32> {
        let index = key.index();
        self.conns.get(index)?;
        (self.key(index) == key).then_some(index)
    }

    /// Gives a connection's logic an event, and does what comes of it.
    fn with_logic<R>(
        &mut self,
        index: u32,
        event: impl FnOnce(&mut connection::Connection, &mut connection::Context<'_>) -> R,
    ) -> Option<R> {
        let client = self.client_id(index);
        let conn = self.conns.get_mut(index)?;
        let mut cx = connection::Context {
            now_ms: self.now_ms,
            unix: self.ports.clock.now(),
            config: &self.config,
            names: &mut self.index,
            client,
            random: self.ports.clock.random(),
            out: &mut self.replies,
            actions: &mut self.actions,
        };
        let result = event(&mut conn.logic, &mut cx);
        self.act(index);
        Some(result)
    }

    /// The id of a connection as it is known outside: not to be guessed, and not stored.
    fn client_id(&self, index: u32) -> u128 {
        let key = self.key(index).bits();
        let half = |secret: &RandomState| {
            let mut hasher = secret.build_hasher();
            hasher.write_u64(key);
            hasher.finish()
        };
        u128::from(half(&self.secret[0])) << 64 | u128::from(half(&self.secret[1]))
    }

    /// Has the wheel look at a connection when it has something to do.
    fn schedule(&mut self, index: u32) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let due = conn.deadline();
        if due == u64::MAX {
            return;
        }
        let tick = tick_of(due);
        if conn.armed == 0 || tick < conn.armed {
            conn.armed = self.wheel.insert(index, tick);
        }
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }
}

impl Conn {
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// When something has to be done about it by itself.
    fn deadline(&self) -> u64 {
        use super::config::times;
        let blocked = self.out.blocked_since().map_or(u64::MAX, |since| since + times::WRITE_MS);
        match &self.stage {
            Stage::Head(head) => head.deadline_ms,
            Stage::Closing(closing) => closing.deadline_ms,
            Stage::Open => {
                let message =
                    self.decoder.incomplete_since().map_or(u64::MAX, |since| since + times::MESSAGE_MS);
                let logic = if self.echo { u64::MAX } else { self.logic.deadline() };
                logic.min(message).min(blocked)
            }
        }
    }
}
