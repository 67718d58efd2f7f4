//! Live delivery under simulation: real senders, logs, registry, bus, and on two nodes the real receiver, channel table
//! and resolver. Clients come, go and move; in the end each knows every event, and none saw a hole or a repetition.

mod nodes;
mod steps;

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
        let resolver = Resolver::new(Arc::clone(&around) as _, stores, Arc::clone(&clock), 100);
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
