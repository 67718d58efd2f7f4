//! Feed reads/s: pages of 20 posts, hot, over kept-alive connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hdrhistogram::Histogram;
use hyper::Method;
use rand::RngExt;
use serde_json::json;

use crate::http::Http;
use crate::report::Report;
use crate::socket::bar;
use crate::target::{Place, Target};

const READERS: usize = 1_000;
const AUTHORS: usize = 500;
const FOLLOWS: usize = 60;
const POSTS_EACH: usize = 6;
const FEED: &str = "/v1/feed?limit=20";

/// Fills a server with a random graph and posts, warms the feeds, reads.
pub async fn run(place: &Place, in_flight: usize, seconds: u64, report: &mut Report) -> Result<()> {
    eprintln!("feeds: {READERS} readers of {FOLLOWS} authors, {in_flight} in flight, {seconds} s");
    // A tenth of the authors are pulled, as with a few celebrities among many.
    let target = place.start("", "[fanout]\ncelebrity_up = 140\ncelebrity_down = 100\n").await?;
    fill(target.address).await?;
    let limit = closed(target.address, "/health/live", in_flight, seconds.div_ceil(2)).await?;
    closed(target.address, FEED, in_flight, 2).await?;
    let cpu = target.cpu()?;
    let ours = closed(target.address, FEED, in_flight, seconds).await?;
    let cpu = (target.cpu()? - cpu) / ours.len() as f64 * 1e6;
    let rate = |times: &Histogram<u64>, seconds: u64| times.len() as f64 / seconds as f64;
    let p99 = |times: &Histogram<u64>| times.value_at_quantile(0.99) as f64 / 1e3;
    let (ours_rate, limit_rate) = (rate(&ours, seconds), rate(&limit, seconds.div_ceil(2)));
    report.add(
        "feed reads/s, 20 posts, hot, load and server on the same cores",
        format!(
            "{ours_rate:.0}/s ({:.0} %), p99 {:.1} ms, {cpu:.0} µs CPU of the server each",
            ours_rate / limit_rate * 100.0,
            p99(&ours)
        ),
        format!("{limit_rate:.0}/s, p99 {:.1} ms: `GET /health/live`", p99(&limit)),
        "10,000/s, p99 ≤ 10 ms",
        Some(ours_rate >= 10_000.0 && p99(&ours) <= 10.0),
    );
    let half = (ours.len() / seconds / 2).max(1);
    let limit = steady(target.address, "/health/live", half, in_flight, seconds.div_ceil(2)).await?;
    let steady = steady(target.address, FEED, half, in_flight, seconds).await?;
    report.add(
        &format!("the same at a steady {half}/s, from the time each was due"),
        format!("p50 {:.1} ms, p99 {:.1} ms", steady.value_at_quantile(0.5) as f64 / 1e3, p99(&steady)),
        format!("p99 {:.1} ms: `GET /health/live` at the same rate", p99(&limit)),
        "p99 ≤ 10 ms",
        Some(p99(&steady) <= 10.0),
    );
    Ok(())
}

async fn fill(address: SocketAddr) -> Result<()> {
    let progress = bar(READERS + AUTHORS * POSTS_EACH, "filling");
    let bar = &progress;
    let follow = stream::iter(0..READERS).map(|n| async move {
        let authors: std::collections::BTreeSet<String> =
            (0..FOLLOWS).map(|_| format!("author{}", rand::rng().random_range(0..AUTHORS))).collect();
        let mut http = Http::connect(address).await?;
        http.post("/v1/following", &Target::token(&format!("reader{n}"))?, &json!({"authors": authors}))
            .await?;
        bar.inc(1);
        anyhow::Ok(())
    });
    for done in follow.buffer_unordered(16).collect::<Vec<_>>().await {
        done?;
    }
    let post = stream::iter(0..AUTHORS).map(|n| async move {
        let token = Target::token(&format!("author{n}"))?;
        let mut http = Http::connect(address).await?;
        for i in 0..POSTS_EACH {
            let text = format!("post {i} of author {n}: {}", "lorem ipsum ".repeat(10));
            http.post("/v1/posts", &token, &json!({"text": text})).await?;
            bar.inc(1);
        }
        anyhow::Ok(())
    });
    for done in post.buffer_unordered(32).collect::<Vec<_>>().await {
        done?;
    }
    progress.finish_and_clear();
    Ok(())
}

/// A kept-alive connection, and the readers it reads for.
struct Client {
    http: Http,
    tokens: Vec<String>,
    next: usize,
    times: Histogram<u64>,
}

impl Client {
    async fn new(address: SocketAddr, n: usize, clients: usize) -> Result<Self> {
        let readers = (0..READERS / clients).map(|i| format!("reader{}", n + i * clients));
        let tokens = readers.map(|reader| Target::token(&reader)).collect::<Result<Vec<_>>>()?;
        Ok(Self { http: Http::connect(address).await?, tokens, next: n, times: Histogram::new(3)? })
    }

    /// Reads for the next reader, and records the time since `start`.
    async fn read(&mut self, path: &str, start: Instant) -> Result<()> {
        self.next += 1;
        let token = &self.tokens[self.next % self.tokens.len()];
        let (status, body) = self.http.send(Method::GET, path, token, Bytes::new()).await?;
        anyhow::ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(self.times.record(u64::try_from(start.elapsed().as_micros())?)?)
    }
}

/// Each client sends its next request when it has the answer to the last one. Microseconds that each took.
async fn closed(
    address: SocketAddr,
    path: &'static str,
    clients: usize,
    seconds: u64,
) -> Result<Histogram<u64>> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks = (0..clients).map(|n| async move {
        let mut client = Client::new(address, n, clients).await?;
        while Instant::now() < end {
            client.read(path, Instant::now()).await?;
        }
        anyhow::Ok(client.times)
    });
    gather(tasks).await
}

/// Requests are due at a steady rate; one that is late because those before it are counts from when it was due.
async fn steady(
    address: SocketAddr,
    path: &'static str,
    rate: u64,
    clients: usize,
    seconds: u64,
) -> Result<Histogram<u64>> {
    // By then all clients are connected.
    let begin = Instant::now() + Duration::from_secs(1);
    let tasks = (0..clients).map(|n| async move {
        let mut client = Client::new(address, n, clients).await?;
        for turn in (n as u64..rate * seconds).step_by(clients) {
            let due = begin + Duration::from_micros(turn * 1_000_000 / rate);
            tokio::time::sleep_until(due.into()).await;
            client.read(path, due).await?;
        }
        anyhow::Ok(client.times)
    });
    gather(tasks).await
}

async fn gather(
    tasks: impl Iterator<Item = impl Future<Output = Result<Histogram<u64>>> + Send + 'static>,
) -> Result<Histogram<u64>> {
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut times = Histogram::<u64>::new(3)?;
    for task in tasks {
        times.add(task.await?.context("reading")?)?;
    }
    Ok(times)
}
