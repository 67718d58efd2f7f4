//! Hundreds of followers on sockets, who come back when they are cut off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fama_tests::graph::name;
use fama_tests::history::What;
use fama_tests::socket::{At, Connect, Push, Session};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::world::{Shared, World, seen};

/// Nothing came for so long: everything is there.
const QUIET: Duration = Duration::from_secs(3);
const SETTLE_LIMIT: Duration = Duration::from_secs(40);

pub struct Crowd {
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    up: Arc<AtomicU64>,
}

struct Follower {
    shared: Arc<Shared>,
    user: String,
    session: String,
    positions: BTreeMap<String, At>,
    received: Arc<AtomicU64>,
    up: Arc<AtomicU64>,
}

impl Follower {
    fn at(&self, channel: &str, offset: u64, gap: bool) {
        let (session, channel) = (self.session.clone(), channel.to_owned());
        self.shared.recorder.event(What::At { session, channel, offset, gap });
    }

    fn take(&self, push: &Push) {
        match push.kind.as_str() {
            "pub" => {
                self.received.fetch_add(1, Ordering::Relaxed);
                let data = &push.body["data"];
                let created = if push.event() == "post.created" { seen(&data["post"]) } else { None };
                let (session, channel) = (self.session.clone(), push.channel.clone());
                let offset = push.body["offset"].as_u64().expect("every channel of a user has offsets");
                if push.event() == "feed.reset" {
                    self.at(&channel, offset, true);
                } else {
                    self.shared.recorder.event(What::Recv { session, channel, offset, created });
                }
            }
            "subscribe" => {
                let again = self.positions.contains_key(&push.channel);
                self.at(&push.channel, push.body["offset"].as_u64().unwrap_or(0), again);
            }
            _ => {}
        }
    }

    /// One connection, from its beginning to its end.
    async fn connection(&mut self, stop: &AtomicBool) -> Result<(), String> {
        let url = self.shared.ws_url.read().expect("no writer panicked").clone();
        let how = Connect {
            token: Some(fama_tests::token::user(&self.user)),
            since: self.positions.clone(),
            headers: Vec::new(),
        };
        let session = Session::connect(&url, &how).await?;
        for (channel, sub) in session.hello["subs"].as_object().into_iter().flatten() {
            let known = self.positions.contains_key(channel);
            let recovered = sub["recovered"].as_bool() == Some(true);
            self.at(channel, sub["offset"].as_u64().unwrap_or(0), known && !recovered);
        }
        self.up.fetch_add(1, Ordering::Relaxed);
        loop {
            tokio::select! {
                more = session.more() => match more {
                    Some(pushes) => pushes.iter().for_each(|push| self.take(push)),
                    None => break,
                },
                () = tokio::time::sleep(Duration::from_millis(100)) => if stop.load(Ordering::Relaxed) { break },
            }
        }
        self.positions = session.positions();
        self.up.fetch_sub(1, Ordering::Relaxed);
        let violations = session.violations();
        assert!(violations.is_empty(), "{}: {violations:?}", self.user);
        Ok(())
    }

    async fn live(mut self, stop: Arc<AtomicBool>) {
        let (session, user) = (self.session.clone(), self.user.clone());
        self.shared.recorder.event(What::Open { session, user });
        while !stop.load(Ordering::Relaxed) {
            if self.connection(&stop).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        self.shared.recorder.event(What::Ended { session: self.session });
    }
}

impl Crowd {
    /// Connects `size` people, spread over the graph, and waits until all are there.
    pub async fn connect(world: &World, size: usize) -> Self {
        let (stop, received, up) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let step = world.graph.people() as usize / size;
        let people = (0..world.graph.people()).step_by(step).take(size);
        let tasks = people.map(|person| {
            let follower = Follower {
                shared: world.shared.clone(),
                user: name(person),
                session: format!("session of {}", name(person)),
                positions: BTreeMap::new(),
                received: received.clone(),
                up: up.clone(),
            };
            tokio::spawn(follower.live(stop.clone()))
        });
        let crowd = Self { tasks: tasks.collect(), stop, received, up };
        crowd.all_here().await;
        crowd
    }

    /// Waits until everybody is connected.
    pub async fn all_here(&self) {
        let size = self.tasks.len() as u64;
        fama_tests::eventually("everybody is connected", Duration::from_secs(30), async || {
            (self.up.load(Ordering::Relaxed) == size).then_some(())
        })
        .await;
    }

    /// Waits until nothing comes any more.
    pub async fn settle(&self) {
        let end = tokio::time::Instant::now() + SETTLE_LIMIT;
        loop {
            let before = self.received.load(Ordering::Relaxed);
            tokio::time::sleep(QUIET).await;
            if self.received.load(Ordering::Relaxed) == before {
                eprintln!("{} connected followers got {before} publications", self.tasks.len());
                return;
            }
            assert!(tokio::time::Instant::now() < end, "publications still come long after the last post");
        }
    }

    /// Lets everybody go.
    pub async fn leave(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in join_all(self.tasks).await {
            task.expect("a follower ends well");
        }
    }
}
