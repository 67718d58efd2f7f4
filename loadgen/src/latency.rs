//! Time from when a post was due to its followers' sockets, under steady load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::http::Http;
use crate::report::Report;
use crate::socket::{Socket, bar, open_many};
use crate::target::{Place, Target};

const AUTHORS: usize = 50;
const FOLLOWERS: usize = 2_000;
const FOLLOWS: usize = 5;

type Sent = Arc<Mutex<HashMap<String, Instant>>>;

/// Authors post at a steady rate; every follower is connected; each delivery is timed on this process' clock.
pub async fn run(place: &Place, rate: u64, seconds: u64, report: &mut Report) -> Result<()> {
    eprintln!("latency: {rate} posts/s, {FOLLOWERS} followers connected, {seconds} s");
    let target = place.start("", "").await?;
    let progress = bar(FOLLOWERS * 2, "following, connecting");
    let mut http = Http::connect(target.address).await?;
    for n in 0..FOLLOWERS {
        let authors: Vec<_> = (0..FOLLOWS).map(|i| format!("author{}", (n + i * 7) % AUTHORS)).collect();
        http.post("/v1/following", &Target::token(&format!("follower{n}"))?, &json!({"authors": authors}))
            .await?;
        progress.inc(1);
    }
    let sockets = open_many(target.address, FOLLOWERS, &progress, |n| format!("follower{n}"), None).await?;
    progress.finish_and_clear();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (sent, times) = (Sent::default(), Arc::new(Mutex::new(Histogram::<u64>::new(3)?)));
    let readers: Vec<_> =
        sockets.into_iter().map(|socket| tokio::spawn(read(socket, sent.clone(), times.clone()))).collect();
    let posted = post_steadily(&target, rate, seconds, &sent).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for reader in readers {
        reader.abort();
    }
    let times = times.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
    let wanted = posted * (FOLLOWERS * FOLLOWS / AUTHORS) as u64;
    anyhow::ensure!(times.len() == wanted, "{} deliveries of {wanted}", times.len());
    let ms = |q: f64| times.value_at_quantile(q) as f64 / 1e3;
    report.add(
        &format!(
            "post → follower's socket, {rate} posts/s, {} deliveries/s, from when the post was due",
            wanted / seconds
        ),
        format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", ms(0.5), ms(0.99), times.max() as f64 / 1e3),
        "includes the `fdatasync` of the post".into(),
        "p99 ≤ 50 ms",
        Some(ms(0.99) <= 50.0),
    );
    Ok(())
}

/// Each author posts over a connection of its own. A post that is late because the one before it was slow counts from
/// when it was due.
async fn post_steadily(target: &Target, rate: u64, seconds: u64, sent: &Sent) -> Result<u64> {
    let (address, begin) = (target.address, Instant::now() + Duration::from_millis(500));
    let posts = rate * seconds / AUTHORS as u64;
    let tasks: Vec<_> = (0..AUTHORS as u64)
        .map(|author| {
            let sent = sent.clone();
            tokio::spawn(async move {
                let token = Target::token(&format!("author{author}"))?;
                let mut http = Http::connect(address).await?;
                for n in 0..posts {
                    let turn = author + n * AUTHORS as u64;
                    let due = begin + Duration::from_secs_f64(turn as f64 / rate as f64);
                    let key = format!("latency-{turn}");
                    sent.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.insert(key.clone(), due);
                    tokio::time::sleep_until(due.into()).await;
                    http.post("/v1/posts", &token, &json!({"text": key})).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await?.context("posting")?;
    }
    Ok(posts * AUTHORS as u64)
}

async fn read(mut socket: Socket, sent: Sent, times: Arc<Mutex<Histogram<u64>>>) -> Result<()> {
    loop {
        let frame = socket.next().await?;
        let now = Instant::now();
        for line in frame.lines() {
            let text = line.split_once("\"text\":\"").and_then(|(_, rest)| rest.split_once('"'));
            let Some((key, _)) = text else { continue };
            let start = sent.lock().ok().and_then(|sent| sent.get(key).copied());
            if let (Some(start), Ok(mut times)) = (start, times.lock()) {
                times.record(u64::try_from(now.saturating_duration_since(start).as_micros())?)?;
            }
        }
    }
}
