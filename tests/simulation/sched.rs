//! A scheduler with one thread, seeded: which task runs next, when time passes and what fails are all drawn from one
//! number. A task may be anywhere between two awaits when another one runs.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use fama_fanout::Clock;
use fama_protocol::{PostId, UnixMs};

/// Locks; a panic of a task ends the run anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A small generator (splitmix64): the same numbers everywhere, for ever.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// In so many of a thousand cases.
    pub fn chance(&mut self, of_thousand: u64) -> bool {
        self.below(1_000) < of_thousand
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(list.len() as u64);
        &list[usize::try_from(at).unwrap()]
    }
}

type Spawned = (String, Option<String>, Pin<Box<dyn Future<Output = ()> + Send>>);

struct Inner {
    rng: Rng,
    now_ms: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    timer: u64,
    spawned: Vec<Spawned>,
    killed: Vec<String>,
    /// Groups that do not run until a time.
    frozen: BTreeMap<String, u64>,
    current: String,
    trace: Option<Vec<String>>,
}

/// The world's time and chance. Tasks are given to it, an [`Executor`] runs them.
pub struct Sim(Mutex<Inner>);

impl Sim {
    pub fn new(seed: u64, trace: bool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner {
            rng: Rng::new(seed),
            now_ms: 0,
            timers: BTreeMap::new(),
            timer: 0,
            spawned: Vec::new(),
            killed: Vec::new(),
            frozen: BTreeMap::new(),
            current: String::new(),
            trace: trace.then(Vec::new),
        })))
    }

    pub fn now_ms(&self) -> u64 {
        lock(&self.0).now_ms
    }

    pub fn below(&self, n: u64) -> u64 {
        lock(&self.0).rng.below(n)
    }

    pub fn chance(&self, of_thousand: u64) -> bool {
        lock(&self.0).rng.chance(of_thousand)
    }

    /// Writes a line of the trace, if there is one.
    pub fn log(&self, line: impl FnOnce() -> String) {
        let mut inner = lock(&self.0);
        let Inner { now_ms, current, trace: Some(trace), .. } = &mut *inner else { return };
        trace.push(format!("{now_ms:>7} {current:<10} {}", line()));
    }

    pub fn take_trace(&self) -> Vec<String> {
        lock(&self.0).trace.take().unwrap_or_default()
    }

    /// Adds a task. Those of a group can be ended at any await.
    pub fn spawn(&self, name: &str, group: Option<&str>, task: impl Future<Output = ()> + Send + 'static) {
        let task = (name.to_owned(), group.map(str::to_owned), Box::pin(task) as _);
        lock(&self.0).spawned.push(task);
    }

    /// Ends the tasks of a group where they stand.
    pub fn kill(&self, group: &str) {
        lock(&self.0).killed.push(group.to_owned());
    }

    /// The tasks of a group do not run for so long.
    pub fn freeze(&self, group: &str, ms: u64) {
        let mut inner = lock(&self.0);
        let until = inner.now_ms + ms;
        inner.frozen.insert(group.to_owned(), until);
    }

    /// Nothing is frozen any more.
    pub fn thaw(&self) {
        lock(&self.0).frozen.clear();
    }

    /// Lets others run.
    #[allow(clippy::unused_self, reason = "it is the scheduler that goes on")]
    pub fn pause(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut paused = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut paused, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Waits for time to pass.
    pub fn sleep(self: &Arc<Self>, ms: u64) -> Sleep {
        let until = self.now_ms() + ms;
        Sleep { sim: Arc::clone(self), until, key: None }
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        let mut inner = lock(&self.0);
        inner.now_ms += ms;
        inner.fire();
    }
}

impl Inner {
    fn fire(&mut self) {
        while let Some(due) = self.timers.first_entry().filter(|due| due.key().0 <= self.now_ms) {
            due.remove().wake();
        }
    }
}

/// See [`Sim::sleep`].
pub struct Sleep {
    sim: Arc<Sim>,
    until: u64,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sim = Arc::clone(&self.sim);
        let mut inner = lock(&sim.0);
        if inner.now_ms >= self.until {
            return Poll::Ready(());
        }
        inner.timer += 1;
        let until = self.until;
        let key = *self.key.get_or_insert((until, inner.timer));
        inner.timers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(&self.sim.0).timers.remove(&key);
        }
    }
}

/// The clock of all code under simulation.
pub struct SimClock(pub Arc<Sim>);

/// When the simulation begins.
pub const START: UnixMs = UnixMs(PostId::EPOCH.0 + 10_000_000_000);

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> UnixMs {
        START.plus(self.0.now_ms())
    }

    fn monotonic_ms(&self) -> u64 {
        1_000_000 + self.0.now_ms()
    }

    fn random(&self) -> u64 {
        lock(&self.0.0).rng.next()
    }

    async fn sleep(&self, ms: u64) {
        self.0.sleep(ms).await;
    }
}

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    name: String,
    group: Option<String>,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    ready: Arc<Ready>,
    waker: Waker,
    priority: i64,
}

/// Runs the tasks of a [`Sim`]. Which task is next is either drawn anew each time, or by priorities that change now and
/// then: that finds what needs one task to be very slow.
pub struct Executor {
    sim: Arc<Sim>,
    tasks: Vec<Task>,
    priorities: bool,
    change: u64,
    lowest: i64,
    tick: (u64, u64),
}

impl Executor {
    /// In `tick.0` of a thousand steps `tick.1` milliseconds pass.
    pub fn new(sim: &Arc<Sim>, tick: (u64, u64)) -> Self {
        let priorities = sim.chance(600);
        let change = *lock(&sim.0).rng.pick(&[5, 15, 50]);
        Self { sim: Arc::clone(sim), tasks: Vec::new(), priorities, change, lowest: 0, tick }
    }

    /// Runs until the condition holds. `false`: it did not in so many steps. `fair`: every task gets its turn.
    pub fn run(&mut self, until: impl Fn() -> bool, steps: u64, fair: bool) -> bool {
        for _ in 0..steps {
            if until() {
                return true;
            }
            self.adopt();
            if !self.step(fair) {
                return until();
            }
        }
        until()
    }

    fn adopt(&mut self) {
        let mut inner = lock(&self.sim.0);
        let spawned = std::mem::take(&mut inner.spawned);
        for (name, group, future) in spawned {
            let ready = Arc::new(Ready(AtomicBool::new(true)));
            let waker = Waker::from(Arc::clone(&ready));
            let priority = i64::try_from(inner.rng.below(1 << 40)).unwrap();
            self.tasks.push(Task { name, group, future, ready, waker, priority });
        }
        let killed = std::mem::take(&mut inner.killed);
        // What goes may hold timers, and so needs the lock.
        drop(inner);
        if !killed.is_empty() {
            self.tasks.retain(|task| task.group.as_ref().is_none_or(|group| !killed.contains(group)));
        }
    }

    /// One poll of one task. `false`: nothing is left that could ever run.
    fn step(&mut self, fair: bool) -> bool {
        let mut inner = lock(&self.sim.0);
        let frozen = |task: &Task| {
            let until = task.group.as_ref().and_then(|group| inner.frozen.get(group));
            until.is_some_and(|until| *until > inner.now_ms)
        };
        let ready: Vec<usize> = (0..self.tasks.len())
            .filter(|at| self.tasks[*at].ready.0.load(Ordering::Relaxed) && !frozen(&self.tasks[*at]))
            .collect();
        if ready.is_empty() {
            let thaws = inner.frozen.values().copied().filter(|until| *until > inner.now_ms).min();
            let timer = inner.timers.first_key_value().map(|(key, _)| key.0);
            let Some(due) = timer.into_iter().chain(thaws).min() else { return false };
            inner.now_ms = inner.now_ms.max(due);
            inner.fire();
            return true;
        }
        let at = if self.priorities && !fair {
            let best = ready.iter().copied().max_by_key(|at| self.tasks[*at].priority).unwrap_or(ready[0]);
            if inner.rng.chance(self.change) {
                self.lowest -= 1;
                self.tasks[best].priority = self.lowest;
            }
            best
        } else {
            *inner.rng.pick(&ready)
        };
        if inner.rng.chance(self.tick.0) {
            inner.now_ms += self.tick.1;
            inner.fire();
        }
        let task = &mut self.tasks[at];
        if inner.trace.is_some() {
            inner.current.clone_from(&task.name);
        }
        drop(inner);
        task.ready.0.store(false, Ordering::Relaxed);
        let waker = task.waker.clone();
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.swap_remove(at));
        }
        true
    }
}

/// Ends a future after so many polls, wherever it stands: a crash. `None`: it was ended.
pub async fn fused<T>(future: impl Future<Output = T>, mut polls: u64) -> Option<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
