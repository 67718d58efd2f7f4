//! A restart under ten thousand clients, with posts going on: nobody loses an event.

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fama_tests::eventually;
use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::{Connect, Session};
use fama_tests::token::{SERVICE_KEY, user};
use http::Method;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

const CLIENTS: usize = 10_000;
const AUTHORS: usize = 10;
/// Handshakes a second that the server allows.
const HANDSHAKES: usize = 1_000;
const DRAIN_S: u64 = 16;
/// Clients that start anew wait up to this before they try again, and ever longer up to the second.
const BACKOFF: (f64, f64) = (0.5, 4.0);
/// The last post of each author.
const END: &str = "the end";
/// Feeds read at once by all clients together.
const RELOADS: usize = 32;

/// What all clients share.
struct World {
    url: String,
    rest: Rest,
    reloads: Semaphore,
    connected: Mutex<Vec<Instant>>,
    closed: Mutex<Vec<(Instant, u16)>>,
    online: AtomicUsize,
    refused: AtomicUsize,
    reloaded: AtomicUsize,
    /// Who has seen the last post.
    done: AtomicUsize,
}

/// What a client ends with.
struct Seen {
    author: usize,
    ids: HashSet<String>,
    violations: Vec<String>,
}

impl Seen {
    fn take(&mut self, post: &Value, world: &World) {
        if let Some(id) = post["id"].as_str()
            && self.ids.insert(id.to_owned())
            && post["text"] == END
        {
            world.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no client panicked")
}

/// Reads the first page of the feed, as a client does whose stream could not be taken up again.
async fn reload(world: &World, token: &str) -> Vec<String> {
    let _one = world.reloads.acquire().await.expect("never closed");
    let rest = world.rest.clone().bearer(token);
    loop {
        match rest.send(Method::GET, "/v1/feed?limit=100", None).await {
            Ok(page) if page.status == 200 && page.body["partial"] != json!(true) => return page.ids(),
            Ok(page) => assert!(matches!(page.status, 200 | 429 | 503 | 504), "{}", page.text),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// A client as the SDKs are: comes back with its positions after a random, ever longer while.
async fn client(world: Arc<World>, number: usize, mut stop: watch::Receiver<bool>) -> Seen {
    let name = format!("u{number}");
    let mut seen = Seen { author: number % AUTHORS, ids: HashSet::new(), violations: Vec::new() };
    let mut how = Connect { token: Some(user(&name)), ..Connect::default() };
    let mut tries = 0;
    loop {
        if let Ok(session) = Session::connect(&world.url, &how).await {
            tries = 0;
            lock(&world.connected).push(Instant::now());
            world.online.fetch_add(1, Ordering::Relaxed);
            let own = &session.hello["subs"][format!("user:#{name}")];
            if !how.since.is_empty() && own["recovered"] != json!(true) {
                world.reloaded.fetch_add(1, Ordering::Relaxed);
                seen.ids.extend(reload(&world, how.token.as_deref().unwrap_or_default()).await);
            }
            let ended = loop {
                tokio::select! {
                    biased;
                    pushes = session.more() => match pushes {
                        Some(pushes) => for push in pushes {
                            seen.take(&push.body["data"]["post"], &world);
                        },
                        None => break false,
                    },
                    _ = stop.wait_for(|stop| *stop) => break true,
                }
            };
            world.online.fetch_sub(1, Ordering::Relaxed);
            seen.violations.extend(session.violations());
            if ended {
                return seen;
            }
            let code = session.closed(Duration::from_secs(1)).await.code;
            lock(&world.closed).push((Instant::now(), code));
            how.since = session.positions();
        } else {
            world.refused.fetch_add(1, Ordering::Relaxed);
        }
        let most = (BACKOFF.0 * f64::from(1 << tries)).min(BACKOFF.1);
        tries = (tries + 1).min(10);
        let pause = Duration::from_secs_f64(rand::rng().random_range(0.0..most));
        tokio::time::sleep(pause).await;
    }
}

/// Posts until told to stop; each post is repeated until it is acknowledged. What was acknowledged, by author.
async fn post(rest: Rest, stop: Arc<AtomicBool>) -> BTreeMap<usize, Vec<String>> {
    let mut posted: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let (mut number, mut left) = (0, AUTHORS);
    while left > 0 {
        let author = number % AUTHORS;
        let is_last = stop.load(Ordering::Relaxed);
        let text = if is_last { END.to_owned() } else { format!("number {number}") };
        let caller = rest.clone().acting_for(&format!("a{author}")).once(&format!("post-{number}-{is_last}"));
        let body = json!({"text": text}).to_string().into_bytes();
        match caller.send(Method::POST, "/v1/posts", Some(body)).await {
            Ok(answer) if answer.status == 201 => {
                posted.entry(author).or_default().push(answer.body["id"].as_str().expect("an id").to_owned());
                number += 1;
                left -= usize::from(is_last);
            }
            // The process is between two lives, or asks for patience.
            Ok(answer) => assert!(matches!(answer.status, 409 | 503 | 504), "{}", answer.text),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    posted
}

/// Most of the moments that lie within so long.
fn most_within(window: Duration, moments: &mut [Instant]) -> usize {
    moments.sort_unstable();
    let within = |from: usize| moments.partition_point(|at| *at < moments[from] + window) - from;
    (0..moments.len()).map(within).max().unwrap_or(0)
}

/// A server on a port that stays the same, whose users follow ten authors.
fn prepared() -> TestServer {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let number = |value: usize| i64::try_from(value).expect("small");
    let server = Setup::new()
        .set("server.listen", format!("127.0.0.1:{port}"))
        .set("server.drain_s", i64::try_from(DRAIN_S).expect("small"))
        .set("limits.handshakes_per_s", number(HANDSHAKES))
        .set("limits.unauthenticated", number(2 * CLIENTS))
        .stopped();
    let edges: String = (0..CLIENTS).map(|n| format!("u{n},a{}\n", n % AUTHORS)).collect();
    let file = server.folder().join("edges.csv");
    std::fs::write(&file, edges).expect("the edges are written");
    let imported = server.run(&["import", "--follows", &file.to_string_lossy()]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    server
}

impl World {
    fn new(server: &TestServer) -> Self {
        Self {
            url: server.ws_url(),
            rest: Rest::pooled(&server.url()),
            reloads: Semaphore::new(RELOADS),
            connected: Mutex::default(),
            closed: Mutex::default(),
            online: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            reloaded: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        }
    }

    async fn everybody(&self, what: &str) {
        let is_there = async || (self.online.load(Ordering::Relaxed) == CLIENTS).then_some(());
        eventually(what, Duration::from_secs(60), is_there).await;
    }

    /// Everybody was told to come back, one after the other, and came back as the server allows.
    fn judge(&self) {
        let mut closed = lock(&self.closed).clone();
        assert_eq!(closed.len(), CLIENTS);
        assert!(closed.iter().all(|(_, code)| *code == 3001), "clients are told to come back");
        closed.sort_unstable();
        let spread = closed[CLIENTS * 9 / 10].0 - closed[CLIENTS / 10].0;
        assert!(spread > Duration::from_secs(DRAIN_S / 4), "they were sent away within {spread:?}");
        let most = most_within(Duration::from_secs(3), &mut lock(&self.connected));
        // A second's worth may be saved up, and a tenth is for the time that clients take to notice.
        assert!(most <= HANDSHAKES * 4 * 11 / 10, "{most} handshakes within three seconds");
        eprintln!(
            "80 % of the clients closed over {spread:?}; at most {most} came back within 3 s, {HANDSHAKES}/s allowed; \
             {} attempts in vain, {} reloaded",
            self.refused.load(Ordering::Relaxed),
            self.reloaded.load(Ordering::Relaxed),
        );
    }
}

/// Asks the server to end, and starts the next as soon as it is gone.
async fn restart(mut server: TestServer) -> TestServer {
    let asked = Instant::now();
    server.signal("TERM");
    let stopping = tokio::task::spawn_blocking(move || {
        let status = server.wait(Duration::from_secs(DRAIN_S + 5));
        (server, status, asked.elapsed())
    });
    let (mut server, status, took) = stopping.await.expect("it is waited for");
    assert!(status.is_some_and(|status| status.success()), "{status:?} after {took:?}\n{}", server.log());
    assert!(took < Duration::from_secs(DRAIN_S), "the process took {took:?} to end");
    eprintln!("ended after {took:?} of {DRAIN_S} s");
    server.start();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_lose_nothing() {
    let mut server = prepared();
    server.start();
    let world = Arc::new(World::new(&server));
    let (tell, told) = watch::channel(false);
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| tokio::spawn(client(Arc::clone(&world), n, told.clone()))).collect();
    let begun = Instant::now();
    world.everybody("all are connected").await;
    eprintln!("all connected after {:?}", begun.elapsed());
    let is_enough = Arc::new(AtomicBool::new(false));
    let service = Rest::pooled(&server.url()).header("x-api-key", SERVICE_KEY);
    let posting = tokio::spawn(post(service, Arc::clone(&is_enough)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(std::mem::take(&mut *lock(&world.connected)).len(), CLIENTS, "nobody was cut off before");

    let _server = restart(server).await;
    let started = Instant::now();
    world.everybody("all are back").await;
    eprintln!("all back {:?} after the start", started.elapsed());
    is_enough.store(true, Ordering::Relaxed);
    let posted = posting.await.expect("posts were made");
    let end = Instant::now() + Duration::from_secs(30);
    while world.done.load(Ordering::Relaxed) < CLIENTS && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tell.send(true).expect("clients listen");

    let mut lost = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        let seen = client.await.expect("a client ended well");
        assert!(seen.violations.is_empty(), "u{number}: {:?}", seen.violations);
        let missing: Vec<_> = posted[&seen.author].iter().filter(|id| !seen.ids.contains(*id)).collect();
        if !missing.is_empty() {
            lost.push(format!("u{number}: {missing:?}"));
        }
    }
    assert!(lost.is_empty(), "{} clients lost posts: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    world.judge();
    eprintln!("{} posts, none lost by anybody", posted.values().map(Vec::len).sum::<usize>());
}
