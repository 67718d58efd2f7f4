//! Live delivery under simulation: real senders, logs, registry, bus, and on two nodes the real receiver, channel table
//! and resolver. Clients come, go and move; in the end each knows every event, and none saw a hole or a repetition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use fama_fanout::live::{
    Action, Appended, BEAT_MS, Bus, BusEvent, ChannelTable, Delivery, Envelope, EventRef, Input, LiveEvent,
    LiveLog, LogEntry, LogLimits, LogRead, MemoryBus, MemoryLiveLog, MemoryLogLimits, MemoryRegistry, NodeId,
    NodeMessage, NodeReceiver, Registry, Resolver, Since, TableLimits,
};
use fama_fanout::{Clock, Mutant, Result, view};
use fama_protocol::{AppId, Channel, NodeNumber, Position, PostId, ScopedChannel, UnixMs, UserId};
use fama_storage::memory::MemoryStore;
use fama_storage::{Delivery as PostDelivery, Post, Stores, Visibility};
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::faults::Faults;
use crate::sched::{Executor, Rng, START, Sim, SimClock, fused, lock};

const LEASE_MS: u64 = 15_000;
const RENEW_MS: u64 = 5_000;
const TICK_MS: u64 = 250;
const LIMITS: LogLimits = LogLimits { size: 4, ttl_ms: 60_000 };
/// Two users' own channels, and one that both share.
const CHANNELS: [&str; 3] = ["user:#a", "user:#b", "author:star"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// An event for these channels.
    Event(Vec<usize>),
    /// To a node.
    Connect(usize),
    Disconnect,
    Sleep(u64),
    /// Logs and registry are lost.
    Flush,
    Freeze(usize, u64),
    Crash(usize),
    Die,
    Lose,
}

pub type Step = (&'static str, Op);

const CLIENTS: [&str; 3] = ["c0", "c1", "c2"];

pub fn generate(rng: &mut Rng) -> Vec<Step> {
    let mut steps = Vec::new();
    let clients = usize::try_from(1 + rng.below(3)).unwrap();
    for client in &CLIENTS[..clients] {
        for _ in 0..=rng.below(4) {
            let node = usize::from(rng.chance(330));
            steps.push((*client, Op::Connect(node)));
            if rng.chance(500) {
                steps.push((*client, Op::Sleep(*rng.pick(&[300, 2_000, 8_000, 30_000, 70_000]))));
            }
            if rng.chance(400) {
                steps.push((*client, Op::Disconnect));
                if rng.chance(600) {
                    steps.push((*client, Op::Sleep(*rng.pick(&[200, 2_000, 10_000, 70_000]))));
                }
            }
        }
        if rng.chance(800) {
            steps.push((*client, Op::Connect(usize::from(rng.chance(500)))));
        }
    }
    for _ in 0..=rng.below(10) {
        let to = rng.pick(&[vec![0], vec![1], vec![0, 1], vec![2]]).clone();
        steps.push(("app", Op::Event(to)));
        if rng.chance(300) {
            steps.push(("app", Op::Sleep(*rng.pick(&[300, 2_000, 25_000]))));
        }
    }
    if rng.chance(700) {
        for _ in 0..=rng.below(4) {
            let node = usize::from(rng.chance(500));
            let fault = match rng.below(5) {
                0 => Op::Flush,
                1 => Op::Freeze(node, *rng.pick(&[2_000, 20_000, 80_000])),
                2 => Op::Crash(node),
                _ => Op::Sleep(*rng.pick(&[1_000, 4_000, 12_000])),
            };
            steps.push(("fault", fault));
        }
    }
    for budget in [Op::Die, Op::Lose] {
        for _ in 0..*rng.pick(&[0, 0, 1, 2]) {
            steps.push(("budget", budget.clone()));
        }
    }
    steps
}

/// Log, registry and bus, with others running around every step: each channel is one.
struct Around {
    faults: Arc<Faults>,
    log: MemoryLiveLog,
    registry: MemoryRegistry,
    bus: MemoryBus,
}

#[async_trait]
impl LiveLog for Around {
    async fn open(
        &self,
        channel: &ScopedChannel,
        limits: LogLimits,
        random: u64,
        now_ms: u64,
    ) -> Result<Position> {
        self.faults.pause().await;
        let opened = self.log.open(channel, limits, random, now_ms).await;
        self.faults.pause().await;
        opened
    }

    async fn append(
        &self,
        channels: &[ScopedChannel],
        entry: &LogEntry,
        now_ms: u64,
    ) -> Result<Vec<Option<Appended>>> {
        let mut all = Vec::new();
        for channel in channels {
            self.faults.pause().await;
            let one = self.log.append(std::slice::from_ref(channel), entry, now_ms).await?;
            self.faults.sim.log(|| format!("append {} to {}: {one:?}", entry.event_id, channel.channel));
            all.extend(one);
        }
        self.faults.pause().await;
        Ok(all)
    }

    async fn since(
        &self,
        channel: &ScopedChannel,
        offset: u64,
        limit: usize,
        now_ms: u64,
    ) -> Result<Option<LogRead>> {
        self.faults.pause().await;
        let read = self.log.since(channel, offset, limit, now_ms).await;
        self.faults.pause().await;
        read
    }

    async fn touch(&self, channels: &[ScopedChannel], now_ms: u64) -> Result<Vec<Option<Position>>> {
        self.faults.pause().await;
        let touched = self.log.touch(channels, now_ms).await;
        self.faults.pause().await;
        touched
    }
}

#[async_trait]
impl Registry for Around {
    async fn register(&self, node: &NodeId, channel: &ScopedChannel) -> Result<()> {
        self.faults.pause().await;
        let done = self.registry.register(node, channel).await;
        self.faults.sim.log(|| format!("{} registers {}", node.0, channel.channel));
        self.faults.pause().await;
        done
    }

    async fn unregister(&self, node: &NodeId, channel: &ScopedChannel) -> Result<()> {
        self.faults.pause().await;
        let done = self.registry.unregister(node, channel).await;
        self.faults.sim.log(|| format!("{} unregisters {}", node.0, channel.channel));
        self.faults.pause().await;
        done
    }

    async fn lookup(&self, channels: &[ScopedChannel], now_ms: u64) -> Result<Vec<Vec<NodeId>>> {
        let mut all = Vec::new();
        for channel in channels {
            self.faults.pause().await;
            all.extend(self.registry.lookup(std::slice::from_ref(channel), now_ms).await?);
        }
        self.faults.sim.log(|| format!("nodes: {all:?}"));
        self.faults.pause().await;
        Ok(all)
    }

    async fn renew(&self, node: &NodeId, ttl_ms: u64, now_ms: u64) -> Result<bool> {
        self.faults.pause().await;
        self.registry.renew(node, ttl_ms, now_ms).await
    }
}

#[async_trait]
impl Bus for Around {
    async fn send(&self, to: &NodeId, envelope: Envelope) -> Result<()> {
        self.faults.pause().await;
        let lost = self.faults.take(&self.faults.lost, 300);
        if lost || envelope.message != NodeMessage::Beat {
            let kind = if lost { "LOST" } else { "sent" };
            self.faults.sim.log(|| format!("{kind}: {} to {}", envelope.number, to.0));
        }
        if lost { Ok(()) } else { self.bus.send(to, envelope).await }
    }

    async fn receive(&self, node: &NodeId) -> Option<BusEvent> {
        self.faults.pause().await;
        self.bus.receive(node).await
    }
}

/// What a connection carries to its client.
#[derive(Debug)]
enum Pushed {
    Reply { position: Position, recovered: Option<bool>, publications: Vec<(u64, Bytes)> },
    Publication { position: Position, data: Bytes },
    Reset { position: Position },
}

type ConnectionId = u64;

struct Node {
    name: String,
    id: NodeId,
    table: ChannelTable<ConnectionId>,
    receiver: NodeReceiver,
    /// Live or waiting, with their channel.
    connections: BTreeMap<ConnectionId, (usize, bool, UnboundedSender<Pushed>)>,
}

#[derive(Default)]
struct Client {
    channel: usize,
    node: usize,
    connection: Option<ConnectionId>,
    live: bool,
    at: Option<Position>,
    known: BTreeSet<PostId>,
    /// By epoch.
    seen: BTreeSet<(fama_protocol::Epoch, PostId)>,
    reloads: usize,
    unread: usize,
}

#[derive(Default)]
struct State {
    feeds: [BTreeSet<PostId>; 3],
    clients: Vec<Client>,
    connections: u64,
    incarnations: u64,
    violation: Option<String>,
}

struct World {
    sim: Arc<Sim>,
    app: AppId,
    faults: Arc<Faults>,
    around: Arc<Around>,
    resolver: Resolver,
    clock: Arc<dyn Clock>,
    nodes: [Mutex<Node>; 2],
    state: Mutex<State>,
    jobs: UnboundedSender<Job>,
    waiting: AsyncMutex<UnboundedReceiver<Job>>,
    /// Jobs that are not done.
    owed: AtomicUsize,
    /// I/O of tables under way.
    io: AtomicUsize,
    /// Positions are not compared now and then: only what is noticed at once counts.
    strict: bool,
    mutant: Option<Mutant>,
}

#[derive(Clone)]
struct Job {
    post: Post,
    to: Vec<usize>,
}

fn scoped(app: &AppId, at: usize) -> ScopedChannel {
    ScopedChannel::new(app, Channel::new(CHANNELS[at]).unwrap())
}

fn table(mutant: Option<Mutant>) -> ChannelTable<ConnectionId> {
    let limits = TableLimits { tail_entries: 3, pending: 8, checks: 2, ..TableLimits::default() };
    #[cfg(feature = "mutants")]
    let limits = TableLimits { mutant, ..limits };
    #[cfg(not(feature = "mutants"))]
    let _ = mutant;
    ChannelTable::new(limits)
}

fn receiver(mutant: Option<Mutant>) -> NodeReceiver {
    #[cfg(feature = "mutants")]
    return NodeReceiver::new().with_mutant(mutant);
    #[cfg(not(feature = "mutants"))]
    {
        let _ = mutant;
        NodeReceiver::new()
    }
}

impl World {
    fn new(
        sim: &Arc<Sim>,
        stores: &Stores,
        clients: usize,
        strict: bool,
        mutant: Option<Mutant>,
    ) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SimClock(Arc::clone(sim)));
        let faults = Arc::new(Faults::new(sim));
        let log = MemoryLiveLog::new(MemoryLogLimits::default());
        #[cfg(feature = "mutants")]
        let log = log.with_mutant(mutant);
        let bus = MemoryBus::new(1_000, 1 << 20);
        let around =
            Arc::new(Around { faults: Arc::clone(&faults), log, registry: MemoryRegistry::new(1_000), bus });
        let (posts, graph) = (Arc::clone(&stores.posts), Arc::clone(&stores.graph));
        let resolver = Resolver::new(Arc::clone(&around) as _, posts, graph, Arc::clone(&clock), 100);
        let (jobs, waiting) = unbounded_channel();
        let node = |name: &str| {
            Mutex::new(Node {
                name: name.to_owned(),
                id: NodeId(format!("{name}.0").into()),
                table: table(mutant),
                receiver: receiver(mutant),
                connections: BTreeMap::new(),
            })
        };
        let channel = |at: usize, rng: u64| if at == 2 { 1 } else { usize::try_from(rng).unwrap() };
        let clients = (0..clients)
            .map(|at| Client { channel: channel(at, sim.below(3)), ..Client::default() })
            .collect();
        Arc::new(Self {
            sim: Arc::clone(sim),
            app: AppId::default(),
            faults,
            around,
            resolver,
            clock,
            nodes: [node("N1"), node("N2")],
            state: Mutex::new(State { clients, ..State::default() }),
            jobs,
            waiting: AsyncMutex::new(waiting),
            owed: AtomicUsize::new(0),
            io: AtomicUsize::new(0),
            strict,
            mutant,
        })
    }

    fn violate(&self, what: String) {
        self.sim.log(|| what.clone());
        lock(&self.state).violation.get_or_insert(what);
    }

    // ---- senders ----------------------------------------------------------------------------------------------

    async fn sender(self: Arc<Self>, name: &'static str) {
        let mut incarnation = 0;
        loop {
            incarnation += 1;
            let me = format!("{name}.{incarnation}");
            let delivery = Delivery::new(
                Arc::clone(&self.around) as _,
                Arc::clone(&self.around) as _,
                Arc::clone(&self.around) as _,
                Arc::clone(&self.clock),
                NodeId(me.as_str().into()),
            );
            #[cfg(feature = "mutants")]
            let delivery = delivery.with_mutant(self.mutant);
            let delivery = Arc::new(delivery);
            let (beating, sim) = (Arc::clone(&delivery), Arc::clone(&self.sim));
            self.sim.spawn(&format!("beat-{me}"), Some(&me), async move {
                loop {
                    sim.sleep(BEAT_MS).await;
                    beating.beat_once().await;
                }
            });
            loop {
                let Some(job) = self.waiting.lock().await.recv().await else { return };
                let dies = self.faults.take(&self.faults.deaths, 350);
                let fuse = if dies { self.sim.below(40) } else { u64::MAX };
                let died = fused(self.fan(&delivery, &job), fuse).await.is_none();
                if died {
                    let _ = self.jobs.send(job.clone());
                }
                if died && self.sim.chance(500) {
                    self.sim.log(|| "the job is abandoned, and comes again".to_owned());
                } else if died || dies {
                    self.sim.log(|| format!("{me} crashes"));
                    self.sim.kill(&me);
                    for at in 0..if self.strict { 2 } else { 0 } {
                        self.input(at, Input::Doubt { registrations: false });
                    }
                    break;
                }
            }
        }
    }

    async fn fan(&self, delivery: &Delivery, job: &Job) {
        let post = &job.post;
        for at in &job.to {
            self.sim.pause().await;
            lock(&self.state).feeds[*at].insert(post.id);
        }
        let event = LiveEvent {
            event_id: format!("p/{}", post.id),
            actor: post.author.clone(),
            reference: EventRef::PostCreated { post: post.id },
            data: view::created(post),
        };
        if job.to == [2] {
            delivery.to_author_channel(&self.app, &post.author, &event).await.unwrap();
        } else {
            let users: Vec<_> = job.to.iter().map(|at| UserId::new(["a", "b"][*at]).unwrap()).collect();
            delivery.to_users(&self.app, &event, &users).await.unwrap();
        }
        self.sim.log(|| format!("job of {} done", post.id));
        self.owed.fetch_sub(1, Ordering::Relaxed);
    }

    // ---- nodes ------------------------------------------------------------------------------------------------

    fn start_node(self: &Arc<Self>, at: usize) {
        let group = {
            let mut state = lock(&self.state);
            state.incarnations += 1;
            let mut node = lock(&self.nodes[at]);
            let id = format!("{}.{}", node.name, state.incarnations);
            self.around.bus.close(&node.id);
            node.id = NodeId(id.as_str().into());
            (node.table, node.receiver) = (table(self.mutant), receiver(self.mutant));
            node.connections.clear();
            id
        };
        self.around.bus.attach(&NodeId(group.as_str().into()));
        let (world, id) = (Arc::clone(self), NodeId(group.as_str().into()));
        self.sim.spawn(&format!("rx-{group}"), Some(&group), async move {
            while let Some(event) = world.around.receive(&id).await {
                let heard = lock(&world.nodes[at]).receiver.on(event, world.clock.monotonic_ms());
                if heard.doubt {
                    world.sim.log(|| "misses a number".to_owned());
                    world.input(at, Input::Doubt { registrations: false });
                }
                world.message(at, heard.message);
            }
        });
        let world = Arc::clone(self);
        self.sim.spawn(&format!("tick-{group}"), Some(&group), async move {
            loop {
                world.sim.sleep(TICK_MS).await;
                if lock(&world.nodes[at]).receiver.tick(world.clock.monotonic_ms()) {
                    world.sim.log(|| "a sender went quiet".to_owned());
                    world.input(at, Input::Doubt { registrations: false });
                }
                world.input(at, Input::Tick);
            }
        });
        let (world, id) = (Arc::clone(self), NodeId(group.as_str().into()));
        self.sim.spawn(&format!("lease-{group}"), Some(&group), async move { world.maintain(at, &id).await });
    }

    async fn maintain(self: Arc<Self>, at: usize, id: &NodeId) {
        loop {
            // The first time as well: a subscription may have been quicker than the lease.
            let kept = self.around.renew(id, LEASE_MS, self.clock.monotonic_ms()).await.unwrap();
            if !kept {
                self.sim.log(|| "has a lease anew".to_owned());
                self.input(at, Input::Doubt { registrations: true });
            }
            let channels = lock(&self.nodes[at]).table.channels_to_touch(100);
            let tops = self.around.touch(&channels, self.clock.monotonic_ms()).await.unwrap();
            for (channel, top) in channels.into_iter().zip(tops) {
                if !self.strict {
                    self.input(at, Input::Touched { channel, top });
                }
            }
            self.sim.sleep(RENEW_MS).await;
        }
    }

    fn message(self: &Arc<Self>, at: usize, message: Option<NodeMessage>) {
        match message {
            Some(NodeMessage::Users { app, data, to, .. }) => {
                for (user, position) in to {
                    let channel = ScopedChannel::new(&app, Channel::user(&user));
                    let (position, payload) = (Some(position), data.clone());
                    self.input(at, Input::Incoming { channel, position, payload });
                }
            }
            Some(NodeMessage::Channel { channel, position, payload }) => {
                self.input(at, Input::Incoming { channel, position, payload });
            }
            _ => {}
        }
    }

    fn input(self: &Arc<Self>, at: usize, input: Input<ConnectionId>) {
        let mut out = Vec::new();
        let mut node = lock(&self.nodes[at]);
        node.table.on(input, self.clock.monotonic_ms(), &mut out);
        for action in out {
            self.act(at, &mut node, action);
        }
    }

    fn push(&self, sender: &UnboundedSender<Pushed>, client: ConnectionId, pushed: Pushed) {
        let mut state = lock(&self.state);
        if let Some(client) = state.clients.iter_mut().find(|one| one.connection == Some(client)) {
            client.unread += 1;
            let _ = sender.send(pushed);
        }
    }

    fn act(self: &Arc<Self>, at: usize, node: &mut Node, action: Action<ConnectionId>) {
        let to_live = |channel: &ScopedChannel, pushed: &dyn Fn() -> Pushed| {
            for (id, (of, live, sender)) in &node.connections {
                if *live && CHANNELS[*of] == channel.channel.as_str() {
                    self.push(sender, *id, pushed());
                }
            }
        };
        match action {
            Action::Reply { subscriber, position, recovered, publications, channel } => {
                self.sim.log(|| {
                    format!(
                        "replies on {}: {recovered:?} at {position:?} {}",
                        channel.channel,
                        publications.len()
                    )
                });
                if let Some((_, live, sender)) = node.connections.get_mut(&subscriber) {
                    *live = true;
                    let position = position.unwrap();
                    self.push(sender, subscriber, Pushed::Reply { position, recovered, publications });
                }
            }
            Action::Deliver { channel, position, payload } => {
                let position = position.unwrap();
                to_live(&channel, &|| Pushed::Publication { position, data: payload.clone() });
            }
            Action::Reset { channel, position, reason } => {
                self.sim.log(|| format!("resets {} to {position:?}: {reason:?}", channel.channel));
                to_live(&channel, &|| Pushed::Reset { position });
            }
            Action::Failed { .. } => self.violate("error: a subscription failed".to_owned()),
            io => self.spawn_io(at, node.id.clone(), io),
        }
    }

    fn spawn_io(self: &Arc<Self>, at: usize, id: NodeId, action: Action<ConnectionId>) {
        self.io.fetch_add(1, Ordering::Relaxed);
        let (world, group) = (Arc::clone(self), id.0.to_string());
        let counted = Counted(Arc::clone(self));
        self.sim.spawn(&format!("io-{group}"), Some(&group), async move {
            let input = match action {
                Action::Register { channel, attempt } => {
                    let ok = world.around.register(&id, &channel).await.is_ok();
                    Input::Registered { channel, attempt, ok }
                }
                Action::Read { channel, attempt, since, epoch } => {
                    let read = world.resolver.read(&channel, LIMITS, since, epoch).await.ok();
                    world.sim.log(|| format!("reads {} after {since}: {read:?}", channel.channel));
                    Input::Read { channel, attempt, read }
                }
                Action::Unregister { channel } => {
                    let _ = world.around.unregister(&id, &channel).await;
                    Input::Unregistered { channel }
                }
                _ => return,
            };
            world.input(at, input);
            drop(counted);
        });
    }

    fn crash(self: &Arc<Self>, at: usize) {
        let id = lock(&self.nodes[at]).id.clone();
        self.sim.log(|| format!("{} crashes", id.0));
        self.sim.kill(&id.0);
        self.start_node(at);
        let moved: Vec<usize> = {
            let state = lock(&self.state);
            let here = |client: &Client| client.connection.is_some() && client.node == at;
            (0..state.clients.len()).filter(|client| here(&state.clients[*client])).collect()
        };
        for client in moved {
            self.connect(client, 1 - at);
        }
    }

    // ---- clients ----------------------------------------------------------------------------------------------

    fn connect(self: &Arc<Self>, client: usize, at: usize) {
        let (sender, receiver) = unbounded_channel();
        let (id, channel, since) = {
            let mut state = lock(&self.state);
            state.connections += 1;
            let id = state.connections;
            let one = &mut state.clients[client];
            (one.connection, one.node, one.live, one.unread) = (Some(id), at, false, 0);
            let since = one.at.map(|at| Since::Position { epoch: Some(at.epoch), offset: at.offset });
            (id, one.channel, since)
        };
        self.sim.log(|| format!("{} connects to {at} with {since:?}", CLIENTS[client]));
        let world = Arc::clone(self);
        self.sim.spawn(&format!("socket-{}", CLIENTS[client]), None, async move {
            world.socket(client, id, receiver).await;
        });
        let (world, group) = (Arc::clone(self), lock(&self.nodes[at]).id.0.to_string());
        let channel_of = scoped(&self.app, channel);
        self.sim.spawn(&format!("accept-{}", CLIENTS[client]), Some(&group), async move {
            lock(&world.nodes[at]).connections.insert(id, (channel, false, sender));
            let input = Input::Subscribe { channel: channel_of, subscriber: id, since, positioned: true };
            world.input(at, input);
        });
    }

    fn disconnect(self: &Arc<Self>, client: usize) {
        let (id, at, channel) = {
            let mut state = lock(&self.state);
            let one = &mut state.clients[client];
            let Some(id) = one.connection.take() else { return };
            (one.live, one.unread) = (false, 0);
            (id, one.node, one.channel)
        };
        self.sim.log(|| format!("{} disconnects", CLIENTS[client]));
        let (world, group) = (Arc::clone(self), lock(&self.nodes[at]).id.0.to_string());
        let channel = scoped(&self.app, channel);
        self.sim.spawn(&format!("leave-{}", CLIENTS[client]), Some(&group), async move {
            world.sim.pause().await;
            lock(&world.nodes[at]).connections.remove(&id);
            world.input(at, Input::Unsubscribe { channel, subscriber: id });
        });
    }

    async fn socket(self: Arc<Self>, at: usize, id: ConnectionId, mut pushed: UnboundedReceiver<Pushed>) {
        while let Some(pushed) = pushed.recv().await {
            let mut state = lock(&self.state);
            let client = &mut state.clients[at];
            if client.connection != Some(id) {
                return;
            }
            client.unread -= 1;
            let name = CLIENTS[at];
            let violation = match pushed {
                Pushed::Publication { position, data } => client.take(name, position, &data),
                Pushed::Reply { position, recovered: Some(true), publications } => {
                    client.live = true;
                    let take = |(offset, data): &(u64, Bytes)| {
                        client.take(name, Position { offset: *offset, ..position }, data)
                    };
                    let violation = publications.iter().find_map(take);
                    let hole = || format!("hole: {name} recovered at {:?}, not at {position:?}", client.at);
                    violation.or_else(|| (client.at != Some(position)).then(hole))
                }
                Pushed::Reply { position, .. } | Pushed::Reset { position } => {
                    client.live = true;
                    client.at = Some(position);
                    client.reloads += 1;
                    let world = Arc::clone(&self);
                    self.sim.spawn(&format!("reload-{name}"), None, async move {
                        world.sim.sleep(world.sim.below(2_000)).await;
                        let mut state = lock(&world.state);
                        let feed = state.feeds[state.clients[at].channel].clone();
                        state.clients[at].known.extend(feed);
                        state.clients[at].reloads -= 1;
                    });
                    None
                }
            };
            let at = client.at;
            drop(state);
            self.sim.log(|| format!("{name} is at {at:?}"));
            if let Some(violation) = violation {
                self.violate(violation);
            }
        }
    }

    async fn script(self: Arc<Self>, actor: &'static str, ops: Vec<Op>, posts: Vec<Post>) {
        let client = CLIENTS.iter().position(|name| *name == actor).unwrap_or(0);
        let mut posts = posts.into_iter();
        for op in ops {
            self.sim.pause().await;
            match op {
                Op::Event(to) => {
                    self.owed.fetch_add(1, Ordering::Relaxed);
                    let _ = self.jobs.send(Job { post: posts.next().unwrap(), to });
                }
                Op::Connect(node) => {
                    self.disconnect(client);
                    self.sim.pause().await;
                    self.connect(client, node);
                }
                Op::Disconnect => self.disconnect(client),
                Op::Sleep(ms) => self.sim.sleep(ms).await,
                Op::Flush => {
                    self.sim.log(|| "logs and registry are lost".to_owned());
                    self.around.log.clear();
                    self.around.registry.clear();
                }
                Op::Freeze(node, ms) => {
                    let id = lock(&self.nodes[node]).id.clone();
                    self.sim.log(|| format!("{} does not run for {ms} ms", id.0));
                    self.sim.freeze(&id.0, ms);
                }
                Op::Crash(node) => self.crash(node),
                Op::Die | Op::Lose => {}
            }
        }
    }

    fn at_rest(&self) -> bool {
        if self.owed.load(Ordering::Relaxed) > 0 || self.io.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let state = lock(&self.state);
        state.clients.iter().all(|client| {
            client.reloads == 0 && client.unread == 0 && (client.connection.is_none() || client.live)
        })
    }
}

/// Counts an I/O as over, also if its node crashed.
struct Counted(Arc<World>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.io.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    /// A publication: what is wrong with it.
    fn take(&mut self, name: &str, position: Position, data: &Bytes) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(data).ok()?;
        let Some(id) = json["post"]["id"].as_str().and_then(|id| id.parse::<PostId>().ok()) else {
            return Some(format!("wrong: {name} got {json}"));
        };
        let before = self.at.replace(position);
        if before.map(|at| (at.epoch, at.offset + 1)) != Some((position.epoch, position.offset)) {
            return Some(format!("hole: {name} at {before:?} got {position:?}"));
        }
        if !self.seen.insert((position.epoch, id)) {
            return Some(format!("twice: {name} got {id} again at {position:?}"));
        }
        self.known.insert(id);
        None
    }
}

/// The posts that events tell of, in the store.
fn posts(stores: &Stores, count: usize) -> Vec<Post> {
    let (app, star) = (AppId::default(), UserId::new("star").unwrap());
    for user in ["a", "b"] {
        let user = UserId::new(user).unwrap();
        let follow = stores.graph.follow(&app, &user, std::slice::from_ref(&star), 9, UnixMs(1));
        futures_util::FutureExt::now_or_never(follow).unwrap().unwrap();
    }
    let post = |number: usize| {
        let at = START.plus(number as u64);
        let post = Post {
            id: PostId::from_parts(at, NodeNumber::new(1).unwrap(), 0),
            author: star.clone(),
            kind: "post".into(),
            text: None,
            data: None,
            reply_to: None,
            repost_of: None,
            mentions: Vec::new(),
            visibility: Visibility::Public,
            attachments: None,
            created_at: at,
            updated_at: at,
            rev: 1,
            delivery: PostDelivery::Push,
            deleted: false,
        };
        futures_util::FutureExt::now_or_never(stores.posts.insert(&app, &post, None, at)).unwrap().unwrap();
        post
    };
    (0..count).map(post).collect()
}

/// Runs the steps under a seed: what is wrong, and the trace.
pub fn run(
    steps: &[Step],
    seed: u64,
    strict: bool,
    mutant: Option<Mutant>,
    trace: bool,
) -> (Option<String>, Vec<String>) {
    let sim = Sim::new(seed, trace);
    let stores = MemoryStore::new().stores();
    let clients = CLIENTS.iter().filter(|name| steps.iter().any(|(actor, _)| actor == *name)).count();
    let world = World::new(&sim, &stores, clients, strict, mutant);
    let budget = |op: &Op| steps.iter().filter(|(_, other)| other == op).count() as u64;
    world.faults.deaths.store(budget(&Op::Die), Ordering::Relaxed);
    world.faults.lost.store(budget(&Op::Lose), Ordering::Relaxed);
    let mut executor = Executor::new(&sim, (120, 100));
    world.start_node(0);
    world.start_node(1);
    for name in ["W1", "W2"] {
        sim.spawn(name, None, Arc::clone(&world).sender(name));
    }
    let events: Vec<&Op> = steps.iter().map(|(_, op)| op).filter(|op| matches!(op, Op::Event(_))).collect();
    let posts = posts(&stores, events.len());
    let left = Arc::new(AtomicUsize::new(0));
    let actors: BTreeSet<_> =
        steps.iter().map(|(actor, _)| *actor).filter(|actor| *actor != "budget").collect();
    for actor in actors {
        // Shrinking leaves out clients from the end only by their steps.
        let known = CLIENTS.iter().position(|name| *name == actor).is_none_or(|at| at < clients);
        if !known {
            continue;
        }
        let ops = steps.iter().filter(|(other, _)| *other == actor).map(|(_, op)| op.clone()).collect();
        left.fetch_add(1, Ordering::Relaxed);
        let (script, left) = (Arc::clone(&world).script(actor, ops, posts.clone()), Arc::clone(&left));
        sim.spawn(actor, None, async move {
            script.await;
            left.fetch_sub(1, Ordering::Relaxed);
        });
    }
    let violated = || lock(&world.state).violation.is_some();
    let done = || left.load(Ordering::Relaxed) == 0 || violated();
    if !executor.run(done, 5_000, false) {
        executor.run(done, 30_000, true);
    }
    sim.thaw();
    world.faults.end();
    let rest = || done() && world.at_rest() || violated();
    for _ in 0..2 {
        if !executor.run(rest, 50_000, true) {
            world.violate(format!(
                "stuck: {} jobs, {} reads or writes",
                world.owed.load(Ordering::Relaxed),
                world.io.load(Ordering::Relaxed)
            ));
        }
        let end = sim.now_ms() + LEASE_MS + 2 * RENEW_MS;
        executor.run(|| sim.now_ms() >= end || violated(), 50_000, true);
    }
    if !executor.run(rest, 50_000, true) {
        world.violate("stuck: at rest".to_owned());
    }
    judge(&world, &events, &posts);
    let violation = lock(&world.state).violation.clone();
    (violation, sim.take_trace())
}

/// Every connected client knows every event of its channel.
fn judge(world: &World, events: &[&Op], posts: &[Post]) {
    let mut violation = None;
    for (at, client) in lock(&world.state).clients.iter().enumerate() {
        if client.connection.is_none() {
            continue;
        }
        let mine = events
            .iter()
            .zip(posts)
            .filter(|(op, _)| matches!(op, Op::Event(to) if to.contains(&client.channel)));
        let missing: Vec<_> = mine.map(|(_, post)| post.id).filter(|id| !client.known.contains(id)).collect();
        if !missing.is_empty() {
            let name = CLIENTS[at];
            violation = Some(format!("silent hole: {name} at {:?} never learns of {missing:?}", client.at));
        }
    }
    if let Some(violation) = violation {
        world.violate(violation);
    }
}
