//! Acknowledged posts/s, against a bare group commit of the same bytes on the same disk in the same run.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::http::Http;
use crate::report::Report;
use crate::target::{Place, Target};

/// Bytes that a post, its index and its outbox row come to.
const ROW_BYTES: usize = 600;
/// The file of the bare group commit, which is written round and round.
const FILE_BYTES: usize = 64 << 20;

/// Posts from many authors at once for some seconds.
pub async fn run(place: &Place, in_flight: usize, seconds: u64, report: &mut Report) -> Result<()> {
    eprintln!("posts: {in_flight} in flight, {seconds} s");
    let folder = place.folder()?;
    let limit = bare_commits(folder.path(), in_flight, seconds).await?;
    let target = place.start("", "").await?;
    post(&target, in_flight, 1).await?;
    let cpu = target.cpu()?;
    let times = post(&target, in_flight, seconds).await?;
    let cpu = (target.cpu()? - cpu) / times.len() as f64 * 1e6;
    let ours = times.len() as f64 / seconds as f64;
    report.add(
        &format!("acknowledged posts/s, {in_flight} in flight"),
        format!(
            "{ours:.0}/s ({:.0} %), p99 {:.1} ms, {cpu:.0} µs CPU of the server each",
            ours / limit * 100.0,
            times.value_at_quantile(0.99) as f64 / 1e3
        ),
        format!("{limit:.0}/s: bare group commit of {ROW_BYTES} B, no HTTP"),
        "none",
        None,
    );
    Ok(())
}

/// Posts for some seconds; microseconds that each took.
async fn post(target: &Target, in_flight: usize, seconds: u64) -> Result<Histogram<u64>> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for n in 0..in_flight {
        let address = target.address;
        tasks.push(tokio::spawn(async move {
            let token = Target::token(&format!("author{n}"))?;
            let mut http = Http::connect(address).await?;
            let mut times = Histogram::<u64>::new(3)?;
            while Instant::now() < end {
                let start = Instant::now();
                http.post("/v1/posts", &token, &json!({"text": "x".repeat(200)})).await?;
                times.record(u64::try_from(start.elapsed().as_micros())?)?;
            }
            anyhow::Ok(times)
        }));
    }
    let mut times = Histogram::<u64>::new(3)?;
    for task in tasks {
        times.add(task.await??)?;
    }
    Ok(times)
}

/// The limit: one thread drains a queue, writes all rows with one `write` and one `fdatasync`, answers all.
async fn bare_commits(folder: &Path, in_flight: usize, seconds: u64) -> Result<f64> {
    let (sender, mut queue) = mpsc::channel::<oneshot::Sender<()>>(in_flight * 2);
    let path = folder.join("bare");
    let writer = std::thread::spawn(move || -> Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        // Written once before, so that a sync writes the rows and nothing about the file.
        let piece = vec![0u8; 1 << 20];
        for _ in 0..FILE_BYTES >> 20 {
            file.write_all(&piece)?;
        }
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        while let Some(first) = queue.blocking_recv() {
            let mut waiting = vec![first];
            while let Ok(next) = queue.try_recv() {
                waiting.push(next);
            }
            at += ROW_BYTES * waiting.len();
            if at > FILE_BYTES {
                file.seek(SeekFrom::Start(0))?;
                at = 0;
            }
            file.write_all(&vec![7u8; ROW_BYTES * waiting.len()])?;
            file.sync_data()?;
            for ack in waiting {
                let _ = ack.send(());
            }
        }
        Ok(())
    });
    let done = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (sender, done) = (sender.clone(), done.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let (ack, acked) = oneshot::channel();
                    if sender.send(ack).await.is_err() || acked.await.is_err() {
                        return;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    drop(sender);
    writer.join().map_err(|_| anyhow::anyhow!("the bare writer panicked"))??;
    Ok(done.load(Ordering::Relaxed) as f64 / seconds as f64)
}
