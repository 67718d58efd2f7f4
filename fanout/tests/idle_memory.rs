//! What an idle user's channel costs: its log and registry entry, and its place in a node's table.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use fama_fanout::live::{
    Action, ChannelRead, ChannelTable, Input, LiveLog, LogLimits, MemoryLiveLog, MemoryLogLimits,
    MemoryRegistry, NodeId, Registry, TableLimits,
};
use fama_protocol::{AppId, Channel, Epoch, Position, ScopedChannel, UserId};

const CHANNELS: usize = 400_000;

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn each(from: usize) -> usize {
    resident().saturating_sub(from) / CHANNELS
}

#[tokio::test]
async fn idle_channels_are_small() {
    let app = AppId::default();
    let began = resident();
    let channels: Vec<_> = (0..CHANNELS)
        .map(|at| ScopedChannel::new(&app, Channel::user(&UserId::new(&format!("user-{at}")).unwrap())))
        .collect();
    let names = each(began);

    let before = resident();
    let (log, registry) = (MemoryLiveLog::new(MemoryLogLimits::default()), MemoryRegistry::new(CHANNELS));
    let node = NodeId("1.1".into());
    for channel in &channels {
        log.open(channel, LogLimits { size: 100, ttl_ms: 1_000 }, 7, 0).await.unwrap();
        registry.register(&node, channel).await.unwrap();
    }
    let shared = each(before);

    let before = resident();
    let mut table = ChannelTable::new(TableLimits::default());
    let mut out = Vec::new();
    let top = Position { epoch: Epoch::from_random(7), offset: 0 };
    for (subscriber, channel) in channels.iter().enumerate() {
        let channel = channel.clone();
        table.on(Input::Subscribe { channel, subscriber, since: None, positioned: true }, 0, &mut out);
        while let Some(action) = out.pop() {
            let answer = match action {
                Action::Register { channel, attempt } => Input::Registered { channel, attempt, ok: true },
                Action::Read { channel, attempt, .. } => {
                    let read = Some(ChannelRead { top, entries: Vec::new() });
                    Input::Read { channel, attempt, read }
                }
                _ => continue,
            };
            table.on(answer, 0, &mut out);
        }
    }
    let open = each(before);
    println!("name and handles {names} B, log and registry entry {shared} B, table {open} B");
    assert!(shared <= 250, "a log with its registry entry costs {shared} B");
    assert!(open <= 200, "an open channel costs {open} B");
}
