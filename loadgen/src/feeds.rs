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

/// Fills a server with a random graph and posts, warms the feeds, reads.
pub async fn run(place: &Place, in_flight: usize, seconds: u64, report: &mut Report) -> Result<()> {
    eprintln!("feeds: {READERS} readers of {FOLLOWS} authors, {in_flight} in flight, {seconds} s");
    // A tenth of the authors are pulled, as with a few celebrities among many.
    let target = place.start("[fanout]\ncelebrity_up = 140\ncelebrity_down = 100\n").await?;
    fill(target.address).await?;
    let (mut limit, mut ours) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    measure(target.address, "/health/live", in_flight, seconds.div_ceil(2), &mut limit).await?;
    measure(target.address, "/v1/feed?limit=20", in_flight, 2, &mut Histogram::new(3)?).await?;
    measure(target.address, "/v1/feed?limit=20", in_flight, seconds, &mut ours).await?;
    let rate = |times: &Histogram<u64>, seconds: u64| times.len() as f64 / seconds as f64;
    let (ours_rate, limit_rate) = (rate(&ours, seconds), rate(&limit, seconds.div_ceil(2)));
    report.add(
        "feed reads/s, 20 posts, hot, load and server on the same 2 cores",
        format!(
            "{ours_rate:.0}/s ({:.0} %), p99 {:.1} ms",
            ours_rate / limit_rate * 100.0,
            ours.value_at_quantile(0.99) as f64 / 1e3
        ),
        format!(
            "{limit_rate:.0}/s, p99 {:.1} ms: GET /health/live",
            limit.value_at_quantile(0.99) as f64 / 1e3
        ),
        "10,000/s, p99 ≤ 10 ms",
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

async fn measure(
    address: SocketAddr,
    path: &'static str,
    in_flight: usize,
    seconds: u64,
    times: &mut Histogram<u64>,
) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for n in 0..in_flight {
        tasks.push(tokio::spawn(async move {
            let mut http = Http::connect(address).await?;
            let tokens = (0..READERS / in_flight)
                .map(|i| Target::token(&format!("reader{}", n + i * in_flight)))
                .collect::<Result<Vec<_>>>()?;
            let mut times = Histogram::<u64>::new(3)?;
            for token in tokens.iter().cycle() {
                if Instant::now() >= end {
                    break;
                }
                let start = Instant::now();
                let (status, body) = http.send(Method::GET, path, token, Bytes::new()).await?;
                anyhow::ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
                times.record(u64::try_from(start.elapsed().as_micros())?)?;
            }
            anyhow::Ok(times)
        }));
    }
    for task in tasks {
        times.add(task.await?.context("reading")?)?;
    }
    Ok(())
}
