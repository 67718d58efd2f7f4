//! Feeds under simulation: the real writer, workers, readers, rebuilds and sweeper of two processes over one store and
//! one feed cache. A walk through a feed shows what it must and nothing else, in order; and in the end, with no more
//! faults, every walk is exact.

mod inboxes;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fama_fanout::feed_cache::FeedEntry;
use fama_fanout::jobs::Lane;
use fama_fanout::live::{Delivery, MemoryBus, MemoryLiveLog, MemoryLogLimits, MemoryRegistry, NodeId};
use fama_fanout::{Clock, Deps, FeedCache, Feeds, JobQueue, MemoryJobQueue, Mutant, Settings};
use fama_protocol::{AppId, NodeNumber, PostId, Snowflake, UserId};
use fama_storage::memory::MemoryStore;
use fama_storage::{Delivery as PostDelivery, Mode, Post, Relation, RowId, SLOTS, Stores, Visibility};

use crate::faults::Faults;
use crate::projections::{Feeds as SimFeeds, Jobs, Primary};
use crate::sched::{Executor, Rng, START, Sim, SimClock, fused, lock};
use crate::stores::{Witness, simulated};

pub const USERS: [&str; 4] = ["u0", "u1", "u2", "u3"];
const AUTHORS: usize = 3;
const HOT_CAP: usize = 3;
const PAGE: usize = 2;
const FRESH_MS: u64 = 400;
const ROWS_TTL_MS: u64 = 300;
const SWEEP_MS: u64 = 3_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    InitPost(usize),
    InitFollow(usize, usize),
    InitFeed(usize),
    InitCelebrity(usize),
    Publish(usize),
    Delete(usize),
    Follow(usize, usize),
    Unfollow(usize, usize),
    Relate(usize, Relation, usize, bool),
    Walk(usize),
    Up(usize),
    Down(usize),
    Sleep(u64),
    /// The cache is lost, with its connections.
    Restart,
    /// Another cache takes over; writers notice later.
    Split,
    /// A feed is dropped as unused.
    Expire,
    Die,
    Twice,
    ReadFails,
    WriteFails,
}

/// An operation and who does it: one actor's are done in order.
pub type Step = (&'static str, Op);

const ACTORS: [&str; 4] = ["user0", "user1", "user2", "user3"];
const READERS: [&str; 3] = ["reader0", "reader1", "reader2"];

pub fn generate(rng: &mut Rng) -> Vec<Step> {
    let mut steps = Vec::new();
    let index = |rng: &mut Rng, n: usize| usize::try_from(rng.below(n as u64)).unwrap();
    for _ in 0..rng.below(10) {
        steps.push(("init", Op::InitPost(index(rng, AUTHORS))));
    }
    for user in 0..USERS.len() {
        for author in (0..AUTHORS).filter(|author| *author != user) {
            if rng.chance(500) {
                steps.push(("init", Op::InitFollow(user, author)));
            }
        }
        if rng.chance(600) {
            steps.push(("init", Op::InitFeed(user)));
        }
    }
    if rng.chance(400) {
        steps.push(("init", Op::InitCelebrity(index(rng, AUTHORS))));
    }
    let hot = index(rng, USERS.len());
    for _ in 0..4 + rng.below(11) {
        let user = if rng.chance(500) { hot } else { index(rng, USERS.len()) };
        let author = index(rng, AUTHORS);
        let own = ACTORS[user];
        match rng.below(100) {
            0..35 => steps.push((ACTORS[author], Op::Publish(author))),
            35..57 if user != author => {
                let on = rng.chance(660);
                steps.push((own, if on { Op::Follow(user, author) } else { Op::Unfollow(user, author) }));
                if rng.chance(400) {
                    steps.push((own, Op::Unfollow(user, author)));
                    steps.push((own, Op::Follow(user, author)));
                }
            }
            57..61 if user != author => {
                let relation = if rng.chance(500) { Relation::Block } else { Relation::Mute };
                steps.push((own, Op::Relate(user, relation, author, true)));
                if rng.chance(600) {
                    steps.push((own, Op::Relate(user, relation, author, false)));
                }
            }
            61..65 => steps.push((ACTORS[author], Op::Delete(author))),
            65..73 => {
                let moves = [Op::Up(author), Op::Down(author), Op::Sleep(2_500), Op::Up(author)];
                let first = index(rng, moves.len());
                for at in 0..=index(rng, moves.len()) {
                    steps.push(("operator", moves[(first + at) % moves.len()].clone()));
                }
            }
            _ => steps.push((*rng.pick(&READERS), Op::Walk(user))),
        }
    }
    if rng.chance(750) {
        for _ in 0..=rng.below(5) {
            let fault = [Op::Restart, Op::Restart, Op::Split, Op::Expire, Op::Expire, Op::Sleep(1_500)];
            steps.push(("fault", rng.pick(&fault).clone()));
        }
    }
    for budget in [Op::Die, Op::Twice, Op::ReadFails, Op::WriteFails] {
        for _ in 0..rng.below(3) {
            steps.push(("budget", budget.clone()));
        }
    }
    steps
}

/// A change as seen from outside: between call and answer it may have happened or not.
#[derive(Debug, Clone, Copy)]
struct Change {
    called: u64,
    answered: Option<u64>,
    on: bool,
}

#[derive(Debug, Clone)]
struct Known {
    author: UserId,
    done: Option<u64>,
    delete_called: Option<u64>,
    deleted: Option<u64>,
}

#[derive(Default)]
struct History {
    posts: BTreeMap<PostId, Known>,
    follows: BTreeMap<(UserId, UserId), Vec<Change>>,
    /// By viewer, author and which of block, blocked by, mute.
    hides: BTreeMap<(UserId, UserId, u8), Vec<Change>>,
    violation: Option<String>,
}

struct Log {
    sim: Arc<Sim>,
    history: Mutex<History>,
}

impl Witness for Log {
    fn inserted(&self, post: &Post) {
        let known = Known { author: post.author.clone(), done: None, delete_called: None, deleted: None };
        lock(&self.history).posts.entry(post.id).or_insert(known);
        self.sim.log(|| format!("post {} of {} durable, {:?}", post.id, post.author, post.delivery));
    }

    fn done(&self, id: &RowId) {
        self.sim.log(|| format!("done {}", id.0));
        let Some(post) = id.0.strip_prefix("p/").and_then(|post| post.parse().ok()) else { return };
        if let Some(known) = lock(&self.history).posts.get_mut(&post) {
            known.done.get_or_insert(self.sim.now_ms());
        }
    }
}

/// What is so for sure, during the whole time from `from` on: `None` if it changed or may have.
fn settled(changes: Option<&Vec<Change>>, from: u64, until: u64, slack: u64) -> Option<bool> {
    let Some(changes) = changes else { return Some(false) };
    let mut last: Option<&Change> = None;
    for change in changes.iter().filter(|change| change.called <= until) {
        if change.answered.is_none_or(|answered| answered + slack > from) {
            return None;
        }
        last = Some(change);
    }
    let Some(last) = last else { return Some(false) };
    // Of two at the same time either may have been the later one.
    let open = |other: &Change| other.on != last.on && other.answered >= Some(last.called);
    let at_once = changes.iter().filter(|change| change.called <= until).any(open);
    (!at_once).then_some(last.on)
}

struct World {
    sim: Arc<Sim>,
    app: AppId,
    faults: Arc<Faults>,
    log: Arc<Log>,
    raw: Stores,
    primary: Arc<Primary>,
    queue: Arc<MemoryJobQueue>,
    processes: Vec<Feeds>,
    clock: Arc<dyn Clock>,
    mint: Mutex<Vec<Snowflake>>,
    quiet: AtomicBool,
    busy: AtomicUsize,
}

fn user(at: usize) -> UserId {
    UserId::new(USERS[at]).unwrap()
}

pub fn settings(mutant: Option<Mutant>) -> Settings {
    let settings = Settings {
        celebrity_up: 1_000_000,
        celebrity_down: 0,
        staleness_ms: 2_000,
        clock_skew_ms: 0,
        publish_limit_ms: 800,
        freshness_ms: FRESH_MS,
        rows_ttl_ms: ROWS_TTL_MS,
        chunk_ttl_ms: 60_000,
        page: 2,
        recheck_ms: 500,
        read_budget_ms: 1_000_000,
        projection_ms: 5_000,
        read_width: 4,
        rebuild_lock_ms: 1_500,
        rebuilds_per_second: 0,
        attempts: 50,
        sweep_after_ms: SWEEP_MS,
        sweep_backoff_ms: 10_000,
        ..Settings::default()
    };
    #[cfg(feature = "mutants")]
    let settings = Settings { mutant, ..settings };
    #[cfg(not(feature = "mutants"))]
    let _ = mutant;
    settings
}

impl World {
    fn new(sim: &Arc<Sim>, mutant: Option<Mutant>) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SimClock(Arc::clone(sim)));
        let faults = Arc::new(Faults::new(sim));
        let log = Arc::new(Log { sim: Arc::clone(sim), history: Mutex::default() });
        let raw = MemoryStore::new().stores();
        let witness: Arc<dyn Witness> = Arc::clone(&log) as _;
        let stores = simulated(&raw, &faults, &witness);
        let primary = Arc::new(Primary::new(HOT_CAP, mutant));
        let queue = Arc::new(MemoryJobQueue::new(Arc::clone(&clock), 100, 2_000));
        let process = |number: u16| {
            let bus = Arc::new(MemoryBus::new(100, 1 << 20));
            let node = NodeId(format!("{number}.1").into());
            let live = Arc::new(MemoryLiveLog::new(MemoryLogLimits::default()));
            let registry = Arc::new(MemoryRegistry::new(100));
            let delivery = Arc::new(Delivery::new(live, registry, bus, Arc::clone(&clock), node));
            Feeds::new(Deps {
                stores: stores.clone(),
                feeds: Arc::new(SimFeeds::new(&primary, &faults)),
                jobs: Arc::new(Jobs { inner: Arc::clone(&queue), faults: Arc::clone(&faults) }),
                delivery,
                clock: Arc::clone(&clock),
                settings: settings(mutant),
            })
        };
        let mint = |number| Snowflake::new(NodeNumber::new(number).unwrap(), PostId::ZERO);
        Arc::new(Self {
            sim: Arc::clone(sim),
            app: AppId::default(),
            processes: vec![process(1), process(2)],
            faults,
            log,
            raw,
            primary,
            queue,
            clock,
            mint: Mutex::new(vec![mint(1), mint(2)]),
            quiet: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
        })
    }

    fn post(author: UserId, id: PostId, delivery: PostDelivery) -> Post {
        Post {
            author,
            id,
            kind: "post".into(),
            text: None,
            data: None,
            reply_to: None,
            repost_of: None,
            mentions: Vec::new(),
            visibility: Visibility::Public,
            attachments: None,
            created_at: id.minted_at(),
            updated_at: id.minted_at(),
            rev: 1,
            delivery,
            deleted: false,
        }
    }

    /// How things stand at the start: long ago, and done.
    async fn init(&self, steps: &[Step]) {
        let (app, then) = (&self.app, fama_protocol::UnixMs(START.0 - 100_000));
        let mut number = 0;
        let init: Vec<&Op> = steps.iter().filter(|(actor, _)| *actor == "init").map(|(_, op)| op).collect();
        for op in &init {
            match op {
                Op::InitPost(author) => {
                    number += 1;
                    let id = PostId::from_parts(then.plus(number), NodeNumber::new(1).unwrap(), 0);
                    // The newest of a celebrity are pull posts.
                    let later = init.iter().filter(|other| **other == *op).count();
                    let pull = init.contains(&&Op::InitCelebrity(*author)) && later > 1;
                    let delivery = if pull { PostDelivery::Pull } else { PostDelivery::Push };
                    let post = Self::post(user(*author), id, delivery);
                    let row = self.raw.posts.insert(app, &post, None, then).await.unwrap();
                    self.raw.outbox.mark_done(app, &row.task.row_id()).await.unwrap();
                    self.log.inserted(&post);
                    self.log.done(&row.task.row_id());
                }
                Op::InitFollow(follower, author) => {
                    let (follower, author) = (user(*follower), user(*author));
                    let authors = std::slice::from_ref(&author);
                    self.raw.graph.follow(app, &follower, authors, 100, then).await.unwrap();
                    self.raw.graph.set_filled(app, &follower, &author, u64::MAX >> 1).await.unwrap();
                    let rows = format!("b/{follower}/{author}/{}", then.0);
                    self.raw.outbox.mark_done(app, &RowId(rows)).await.unwrap();
                    let change = Change { called: 0, answered: Some(0), on: true };
                    lock(&self.log.history).follows.insert((follower, author), vec![change]);
                }
                Op::InitCelebrity(author) => {
                    let author = user(*author);
                    let mode = self.raw.modes.set_mode(app, &author, 0, Mode::Pull, true, then);
                    mode.await.unwrap();
                }
                _ => {}
            }
        }
        self.fix_filled(&init).await;
        for op in &init {
            if let Op::InitFeed(at) = op {
                self.init_feed(&user(*at)).await;
            }
        }
    }

    /// `filled` as backfill leaves it.
    async fn fix_filled(&self, init: &[&Op]) {
        for op in init {
            if let Op::InitFollow(follower, author) = op {
                let (follower, author) = (user(*follower), user(*author));
                let (_, version) = self.raw.graph.edge_state(&self.app, &follower, &author).await.unwrap();
                assert!(version > 0);
            }
        }
    }

    /// A feed as fan-out has left it.
    async fn init_feed(&self, viewer: &UserId) {
        let cache = &self.primary.now().cache;
        let edges = self.raw.graph.edges(&self.app, viewer).await.unwrap();
        let authors: Vec<UserId> =
            edges.into_iter().map(|edge| edge.author).chain([viewer.clone()]).collect();
        cache.begin_rebuild(&self.app, viewer, 1, 0, 1).await.unwrap();
        let mut floor = PostId::ZERO;
        for author in &authors {
            let page = self.raw.posts.by_author(&self.app, author, None, 100, false).await.unwrap();
            let entries: Vec<_> = page
                .posts
                .iter()
                .filter(|row| row.delivery == PostDelivery::Push)
                .map(|row| FeedEntry { id: row.id, author: author.clone() })
                .collect();
            cache.add_to_many(&self.app, std::slice::from_ref(viewer), &entries).await.unwrap();
        }
        floor = floor.max(PostId::ZERO);
        cache.finish_rebuild(&self.app, viewer, 1, floor).await.unwrap();
    }

    fn start(self: &Arc<Self>) {
        for (at, process) in self.processes.iter().enumerate() {
            for lane in [Lane::Small, Lane::Large] {
                let (world, process) = (Arc::clone(self), process.clone());
                let name = format!("worker{at}{}", if lane == Lane::Small { "s" } else { "l" });
                self.sim.spawn(&name, None, async move { world.work(&process, lane).await });
            }
            let (world, rebuilding) = (Arc::clone(self), process.clone());
            self.sim.spawn(&format!("rebuild{at}"), None, async move {
                loop {
                    let fuse = if world.faults.take(&world.faults.deaths, 200) {
                        world.sim.below(30)
                    } else {
                        u64::MAX
                    };
                    world.sim.log(|| "ready to rebuild".to_owned());
                    let _ = fused(rebuilding.rebuild_one(), fuse).await;
                    world.sim.pause().await;
                }
            });
            let (world, modes) = (Arc::clone(self), Arc::clone(&process.modes));
            self.sim.spawn(&format!("modes{at}"), None, async move {
                loop {
                    let _ = modes.reconcile_all().await;
                    world.sim.sleep(1_000).await;
                }
            });
        }
        let (world, sweeper) = (Arc::clone(self), self.processes[0].sweeper.clone());
        self.sim.spawn("sweeper", None, async move {
            loop {
                world.sim.sleep(SWEEP_MS).await;
                for slot in 0..SLOTS {
                    let _ = sweeper.sweep_once(slot).await;
                }
            }
        });
    }

    /// A worker, with its deaths and its repetitions.
    async fn work(&self, process: &Feeds, lane: Lane) {
        loop {
            self.faults.pause().await;
            let Ok(received) = self.queue.receive(lane).await else { continue };
            self.busy.fetch_add(1, Ordering::Relaxed);
            self.sim.log(|| format!("takes {:?} after {:?}", received.job.row.task, received.job.after));
            let (job, ticket) = (received.job.clone(), received.ticket);
            let dies = self.faults.take(&self.faults.deaths, 300);
            let fuse = if dies { self.sim.below(40) } else { u64::MAX };
            if fused(process.worker.run_one(received.clone()), fuse).await.is_none() {
                self.sim.log(|| "dies".to_owned());
                if self.sim.chance(500) {
                    // The message is gone as well: the sweeper finds the row.
                    let _ = self.queue.ack(ticket).await;
                }
            } else if self.faults.take(&self.faults.twice, 300) {
                self.sim.log(|| "the same again".to_owned());
                let _ = self.queue.enqueue(job).await;
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Runs the steps under a seed: what is wrong, and the trace.
pub fn run(steps: &[Step], seed: u64, mutant: Option<Mutant>, trace: bool) -> (Option<String>, Vec<String>) {
    let sim = Sim::new(seed, trace);
    let world = World::new(&sim, mutant);
    world.faults.calm.store(true, Ordering::Relaxed);
    futures_util::FutureExt::now_or_never(world.init(steps)).expect("setting up waits for nothing");
    world.faults.calm.store(false, Ordering::Relaxed);
    let budget = |op: &Op| steps.iter().filter(|(_, other)| other == op).count() as u64;
    world.faults.deaths.store(budget(&Op::Die), Ordering::Relaxed);
    world.faults.twice.store(budget(&Op::Twice), Ordering::Relaxed);
    world.faults.reads.store(budget(&Op::ReadFails), Ordering::Relaxed);
    world.faults.writes.store(budget(&Op::WriteFails), Ordering::Relaxed);
    let mut executor = Executor::new(&sim, (300, 30));
    world.start();
    let left = Arc::new(AtomicUsize::new(0));
    let actors: BTreeSet<_> = steps.iter().map(|(actor, _)| *actor).collect();
    for actor in actors.into_iter().filter(|actor| !matches!(*actor, "init" | "budget")) {
        let ops = steps.iter().filter(|(other, _)| *other == actor).map(|(_, op)| op.clone()).collect();
        left.fetch_add(1, Ordering::Relaxed);
        let (world, left) = (Arc::clone(&world), Arc::clone(&left));
        sim.spawn(actor, None, async move {
            world.script(actor, ops).await;
            left.fetch_sub(1, Ordering::Relaxed);
        });
    }
    let done = || left.load(Ordering::Relaxed) == 0 || world.violation().is_some();
    if !executor.run(done, 30_000, false) {
        executor.run(done, 60_000, true);
    }
    world.faults.end();
    let rest = || done() && world.at_rest() || world.violation().is_some();
    if !executor.run(rest, 100_000, true) {
        world.violate(format!(
            "stuck: {} actors, {} jobs",
            left.load(Ordering::Relaxed),
            world.busy.load(Ordering::Relaxed)
        ));
    }
    sim.advance(2_000 + FRESH_MS + 15_000);
    world.quiet.store(true, Ordering::Relaxed);
    for round in 0..2 {
        if world.violation().is_some() {
            break;
        }
        for (at, name) in USERS.iter().enumerate() {
            left.fetch_add(1, Ordering::Relaxed);
            let (world, left) = (Arc::clone(&world), Arc::clone(&left));
            sim.spawn(&format!("last-{name}"), None, async move {
                world.walk(&world.processes[round], &user(at)).await;
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        if !executor.run(rest, 100_000, true) {
            world.violate("stuck: at rest".to_owned());
        }
    }
    futures_util::FutureExt::now_or_never(world.judge_inboxes()).expect("the raw store waits for nothing");
    (world.violation(), sim.take_trace())
}
