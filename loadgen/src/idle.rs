//! Memory of an idle, subscribed connection.

use std::time::Duration;

use anyhow::Result;

use crate::report::Report;
use crate::socket::{bar, open_many};
use crate::target::Place;

/// Opens connections, each of a user of its own and subscribed to its `user:#` channel, waits until the server rests,
/// and divides what its memory grew by.
pub async fn run(place: &Place, connections: usize, report: &mut Report) -> Result<()> {
    eprintln!("idle: {connections} connections");
    let target = place.start("connections = 30000\n").await?;
    // A first few, so that pools and buffers are there before the baseline.
    let progress = bar(connections, "connecting");
    let warm = open_many(target.address, 200, &progress, |n| format!("warm{n}"), None).await?;
    drop(warm);
    tokio::time::sleep(Duration::from_secs(3)).await;
    progress.reset();
    let before = target.rss()?;
    let sockets = open_many(target.address, connections, &progress, |n| format!("user{n}"), None).await?;
    progress.finish_and_clear();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let grown = target.rss()?.saturating_sub(before);
    let each = grown / connections as u64;
    report.add(
        &format!("memory per idle subscribed connection, {connections} connections"),
        format!("{each} B RSS"),
        "640 B: socket registration, task, 128 B of state".into(),
        "≤ 1,024 B",
    );
    drop(sockets);
    Ok(())
}
