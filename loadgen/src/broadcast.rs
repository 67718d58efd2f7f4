//! One channel with many subscribers, against a bare loop of `write(2)` with the same bytes in the same run.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::report::Report;
use crate::socket::{Socket, bar, connect_from, open_many};
use crate::target::{Place, Target};

const CHANNEL: &str = "public:bench";
const CONFIG: &str = "connections = 30000\nqueue_bytes = 8388608\n[[namespaces]]\nname = \"public\"\nhistory_size = 0\n\
                      subscribe = \"user\"\npublish = \"user\"\n";

struct Cost {
    cpu: f64,
    wall: f64,
}

/// Measures both ways.
pub async fn run(
    place: &Place,
    subscribers: usize,
    single: usize,
    burst: usize,
    report: &mut Report,
) -> Result<()> {
    eprintln!("broadcast: {subscribers} subscribers");
    let frame = frame_bytes();
    let bare_single = bare(subscribers, frame, single).await?;
    let bare_burst = bare(subscribers, frame, burst).await?;

    let target = place.start(CONFIG).await?;
    let progress = bar(subscribers, "subscribing");
    let sockets =
        open_many(target.address, subscribers, &progress, |n| format!("s{n}"), Some(CHANNEL)).await?;
    progress.finish_and_clear();
    let token = Target::token("publisher")?;
    let mut publisher = Socket::open(target.address, 0, &token, None).await?;
    let received = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> =
        sockets.into_iter().map(|socket| reader(socket, received.clone(), single + burst)).collect();

    let ours_single = publish(&target, &mut publisher, &received, subscribers, single, 1).await?;
    let frames = (subscribers * single) as f64;
    report.add(
        &format!("broadcast to {subscribers}, one at a time"),
        format!(
            "{:.2} CPU-s per million frames ({:.2}×)",
            ours_single.cpu / frames * 1e6,
            ours_single.cpu / bare_single.cpu
        ),
        format!("{:.2} CPU-s, bare write(2) loop", bare_single.cpu / frames * 1e6),
        "≤ 1.1×",
    );
    received.store(0, Ordering::Relaxed);
    let ours_burst = publish(&target, &mut publisher, &received, subscribers, burst, 64).await?;
    let messages = (subscribers * burst) as f64;
    let (ours, limit) = (messages / ours_burst.wall, messages / bare_burst.wall);
    report.add(
        &format!("broadcast to {subscribers} under load, coalescing"),
        format!(
            "{ours:.0} messages/s ({:.2}×); {:.2} CPU-s per million",
            ours / limit,
            ours_burst.cpu / messages * 1e6
        ),
        format!("{limit:.0} messages/s, bare write(2) loop"),
        "≥ 2×",
    );
    for task in readers {
        task.abort();
    }
    Ok(())
}

/// Bytes of the frame that a publication of ours makes on the wire.
fn frame_bytes() -> usize {
    format!("{{\"push\":{{\"channel\":\"{CHANNEL}\",\"pub\":{{\"data\":{}}}}}}}", payload(0)).len() + 4
}

fn payload(n: usize) -> String {
    format!("{{\"n\":\"{n:08}\",\"text\":\"{}\"}}", "x".repeat(80))
}

fn reader(mut socket: Socket, received: Arc<AtomicUsize>, most: usize) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for _ in 0..most {
            let Ok(text) = socket.next().await else { return };
            let messages = text.split('\n').filter(|line| line.contains("\"pub\"")).count();
            received.fetch_add(messages, Ordering::Relaxed);
        }
    })
}

/// Publishes through a socket, at most `window` publications ahead of what all subscribers have.
async fn publish(
    target: &Target,
    publisher: &mut Socket,
    received: &AtomicUsize,
    subscribers: usize,
    count: usize,
    window: usize,
) -> Result<Cost> {
    let (cpu, start) = (target.cpu()?, Instant::now());
    let mut sent = 0;
    let deadline = start + Duration::from_mins(2);
    while received.load(Ordering::Relaxed) < subscribers * count {
        anyhow::ensure!(
            Instant::now() < deadline,
            "not all arrived: {}\n{}",
            received.load(Ordering::Relaxed),
            target.log()
        );
        let done = received.load(Ordering::Relaxed) / subscribers;
        let batch = (count - sent).min((done + window).saturating_sub(sent));
        if batch == 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
            continue;
        }
        publisher.publish(CHANNEL, (sent..sent + batch).map(payload)).await?;
        sent += batch;
    }
    Ok(Cost { cpu: target.cpu()? - cpu, wall: start.elapsed().as_secs_f64() })
}

/// The limit, in a process of its own with readers here.
async fn bare(sockets: usize, bytes: usize, rounds: usize) -> Result<Cost> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["bare-writer", &sockets.to_string(), &bytes.to_string(), &rounds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let line = lines.next_line().await?.context("the bare writer ended")?;
    let address = line.trim_start_matches("listening on ").parse()?;
    let mut readers = Vec::with_capacity(sockets);
    for n in 0..sockets {
        let mut stream = connect_from(address, n).await?;
        readers.push(tokio::spawn(async move {
            let mut buffer = [0u8; 512];
            while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
        }));
    }
    child.stdin.take().context("no input")?.write_all(b"go\n").await?;
    let line = lines.next_line().await?.context("the bare writer ended")?;
    let mut words = line.split_whitespace();
    let mut number = |name: &str| -> Result<f64> {
        words.find(|word| *word == name);
        Ok(words.next().context("no figure")?.parse()?)
    };
    let cost = Cost { cpu: number("cpu")?, wall: number("wall")? };
    for reader in readers {
        let _ = reader.await;
    }
    Ok(cost)
}
