//! Memory of an idle, subscribed connection.

use std::time::Duration;

use anyhow::Result;

use crate::report::Report;
use crate::socket::{bar, open_many};
use crate::target::{Place, Target};

/// Long enough for a ping to each connection, for the feeds that are made for those who connect, and for what the
/// allocator gives back late.
const REST: Duration = Duration::from_secs(45);

/// Opens connections, each of a user of its own and subscribed to its `user:#` channel, waits until the server rests,
/// and divides what its memory grew by.
pub async fn run(place: &Place, connections: usize, report: &mut Report) -> Result<()> {
    eprintln!("idle: {connections} connections");
    let target = place.start("", "connections = 30000\n").await?;
    // A first few, so that pools and buffers are there before the baseline.
    drop(open(&target, 200, "warm").await?);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = target.rss()?;
    let held = open(&target, connections, "user").await?;
    tokio::time::sleep(REST).await;
    let grown = target.rss()?.saturating_sub(before);
    anyhow::ensure!(held.iter().all(|task| !task.is_finished()), "connections were lost\n{}", target.log());
    let each = grown / connections as u64;
    report.add(
        &format!(
            "memory per idle subscribed connection, {connections} connections, each of a user of its own"
        ),
        format!("{each} B RSS"),
        "288 B: socket registration and waker, before any state".into(),
        "≤ 1,024 B",
        Some(each <= 1_024),
    );
    Ok(())
}

async fn open(target: &Target, count: usize, name: &str) -> Result<Vec<Held>> {
    let progress = bar(count, "connecting");
    let sockets = open_many(target.address, count, &progress, |n| format!("{name}{n}"), None).await?;
    progress.finish_and_clear();
    Ok(sockets.into_iter().map(|socket| Held(tokio::spawn(socket.hold()))).collect())
}

/// A connection that answers pings until it is dropped.
struct Held(tokio::task::JoinHandle<()>);

impl Held {
    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}
