//! What every live log, registry and bus must do. Backends call these in their tests. Channels carry a name that the
//! caller chooses, so that suites can run on a shared server.

#![allow(clippy::unwrap_used, reason = "assertions of tests")]

use std::collections::BTreeSet;

use bytes::Bytes;
use fama_protocol::{AppId, Channel, Position, ScopedChannel, UserId};
use futures_util::future::join_all;

use super::bus::{Bus, BusEvent, Envelope, NodeMessage};
use super::log::{LiveLog, LogEntry, LogLimits, Subject};
use super::registry::{NodeId, Registry};
use crate::Clock;

/// The ttl of the logs and leases in the suites: a backend on a real server waits a few of these.
pub const TTL_MS: u64 = 2_000;

fn channel(name: &str, at: usize) -> ScopedChannel {
    ScopedChannel::new(&AppId::default(), Channel::user(&UserId::new(&format!("{name}.{at}")).unwrap()))
}

fn entry(id: &str) -> LogEntry {
    LogEntry { event_id: id.to_owned(), subject: None, payload: Bytes::copy_from_slice(id.as_bytes()) }
}

const LIMITS: LogLimits = LogLimits { size: 4, ttl_ms: TTL_MS };

async fn append(
    log: &dyn LiveLog,
    channel: &ScopedChannel,
    entry: &LogEntry,
    now: u64,
) -> Option<(Position, bool)> {
    let appended = log.append(std::slice::from_ref(channel), entry, now).await.unwrap();
    appended[0].map(|appended| (appended.position, appended.new))
}

/// The suite of [`LiveLog`].
pub async fn live_log(log: &dyn LiveLog, clock: &dyn Clock, name: &str) {
    appends_only_to_open_logs_and_reads_back(log, clock, name).await;
    remembers_events_and_last_ones(log, clock, name).await;
    offsets_are_contiguous_whoever_appends(log, clock, name).await;
    goes_with_its_ttl_and_comes_back_new(log, clock, name).await;
}

async fn appends_only_to_open_logs_and_reads_back(log: &dyn LiveLog, clock: &dyn Clock, name: &str) {
    let (there, absent) = (channel(name, 1), channel(name, 2));
    let now = clock.monotonic_ms();
    assert_eq!(log.since(&there, 0, 10, now).await.unwrap(), None);
    assert_eq!(append(log, &there, &entry("e0"), now).await, None, "nobody opened it");
    let opened = log.open(&there, LIMITS, clock.random(), now).await.unwrap();
    assert_eq!(opened.offset, 0);
    let both = [absent.clone(), there.clone()];
    for at in 1..=6 {
        let appended = log.append(&both, &entry(&format!("e{at}")), now).await.unwrap();
        assert_eq!(appended[0], None);
        let appended = appended[1].unwrap();
        assert!(appended.new && appended.position == Position { offset: at, ..opened });
    }
    assert_eq!(
        log.open(&there, LIMITS, clock.random(), now).await.unwrap(),
        Position { offset: 6, ..opened }
    );
    let offsets = async |offset, limit| {
        let read = log.since(&there, offset, limit, now).await.unwrap().unwrap();
        assert_eq!(read.top, Position { offset: 6, ..opened });
        read.entries.iter().for_each(|(at, payload)| assert_eq!(*payload, format!("e{at}")));
        read.entries.into_iter().map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!(offsets(0, 10).await, [3, 4, 5, 6], "older ones are gone");
    assert_eq!(offsets(4, 10).await, [5, 6]);
    assert_eq!(offsets(3, 2).await, [5, 6], "the newest of more than the limit");
    assert_eq!(offsets(6, 10).await, [0; 0]);
    assert_eq!(offsets(u64::MAX, 10).await, [0; 0]);
    assert_eq!(log.touch(&both, now).await.unwrap(), [None, Some(Position { offset: 6, ..opened })]);
}

async fn remembers_events_and_last_ones(log: &dyn LiveLog, clock: &dyn Clock, name: &str) {
    let there = channel(name, 3);
    let now = clock.monotonic_ms();
    let opened = log.open(&there, LIMITS, clock.random(), now).await.unwrap();
    for at in 1..=128 {
        append(log, &there, &entry(&format!("e{at}")), now).await.unwrap();
    }
    for at in [1, 60, 128] {
        let again = append(log, &there, &entry(&format!("e{at}")), now).await;
        assert_eq!(again, Some((Position { offset: at, ..opened }, false)), "also after it was trimmed");
    }
    let about = |id: &str, last| LogEntry { subject: Some(Subject { id: 7, last }), ..entry(id) };
    assert!(append(log, &there, &about("created", false), now).await.unwrap().1);
    assert!(append(log, &there, &about("deleted", true), now).await.unwrap().1);
    assert_eq!(append(log, &there, &about("updated", false), now).await, None, "after the last one");
    assert!(!append(log, &there, &about("created", false), now).await.unwrap().1, "there before it");
    assert!(!append(log, &there, &about("deleted", true), now).await.unwrap().1);
    let other = LogEntry { subject: Some(Subject { id: 8, last: false }), ..entry("other") };
    assert!(append(log, &there, &other, now).await.unwrap().1);
}

async fn offsets_are_contiguous_whoever_appends(log: &dyn LiveLog, clock: &dyn Clock, name: &str) {
    let channels: Vec<_> = (10..13).map(|at| channel(name, at)).collect();
    let now = clock.monotonic_ms();
    for channel in &channels {
        log.open(channel, LogLimits { size: 200, ..LIMITS }, clock.random(), now).await.unwrap();
    }
    let entries: Vec<_> = (0..100).map(|at| entry(&format!("e{}", at / 2))).collect();
    let appends = entries.iter().map(|entry| log.append(&channels, entry, now));
    let appended: Vec<_> = join_all(appends).await.into_iter().map(Result::unwrap).collect();
    for at in 0..channels.len() {
        let fresh = appended.iter().filter_map(|one| one[at]).filter(|one| one.new);
        let offsets: BTreeSet<_> = fresh.map(|one| one.position.offset).collect();
        assert!(offsets.into_iter().eq(1..=50), "each event once, without gaps");
        let read = log.since(&channels[at], 0, 100, now).await.unwrap().unwrap();
        let distinct: BTreeSet<_> = read.entries.iter().map(|(_, payload)| payload.clone()).collect();
        assert_eq!((read.entries.len(), distinct.len()), (50, 50));
    }
}

async fn goes_with_its_ttl_and_comes_back_new(log: &dyn LiveLog, clock: &dyn Clock, name: &str) {
    let (kept, left) = (channel(name, 4), channel(name, 5));
    let began = clock.monotonic_ms();
    let first = log.open(&left, LIMITS, clock.random(), began).await.unwrap();
    let held = log.open(&kept, LIMITS, clock.random(), began).await.unwrap();
    for _ in 0..3 {
        clock.sleep(TTL_MS / 2).await;
        let now = clock.monotonic_ms();
        assert_eq!(log.touch(std::slice::from_ref(&kept), now).await.unwrap(), [Some(held)]);
    }
    let now = clock.monotonic_ms();
    assert_eq!(append(log, &left, &entry("late"), now).await, None);
    assert_eq!(log.touch(std::slice::from_ref(&left), now).await.unwrap(), [None], "touching makes none");
    let second = log.open(&left, LIMITS, clock.random(), now).await.unwrap();
    assert_eq!(second.offset, 0);
    assert_ne!(second.epoch, first.epoch);
}

/// The suite of [`Registry`].
pub async fn registry(registry: &dyn Registry, clock: &dyn Clock, name: &str) {
    let node = |at: usize| NodeId(format!("{name}-{at}.1").into());
    let (one, two) = (channel(name, 21), channel(name, 22));
    let both = [one.clone(), two.clone()];
    let lookup = async || {
        let mut found = registry.lookup(&both, clock.monotonic_ms()).await.unwrap();
        for nodes in &mut found {
            nodes.sort();
        }
        found
    };
    registry.register(&node(1), &one).await.unwrap();
    assert_eq!(lookup().await, [vec![], vec![]], "no lease yet");
    assert!(!registry.renew(&node(1), TTL_MS, clock.monotonic_ms()).await.unwrap());
    assert!(!registry.renew(&node(2), TTL_MS, clock.monotonic_ms()).await.unwrap());
    for (at, channel) in [(1, &one), (1, &one), (1, &two), (2, &one)] {
        registry.register(&node(at), channel).await.unwrap();
    }
    assert_eq!(lookup().await, [vec![node(1), node(2)], vec![node(1)]]);
    registry.unregister(&node(1), &one).await.unwrap();
    registry.unregister(&node(1), &one).await.unwrap();
    assert_eq!(lookup().await, [vec![node(2)], vec![node(1)]]);
    for _ in 0..3 {
        clock.sleep(TTL_MS / 2).await;
        assert!(registry.renew(&node(2), TTL_MS, clock.monotonic_ms()).await.unwrap());
    }
    assert_eq!(lookup().await, [vec![node(2)], vec![]], "the first node's lease ended");
    assert!(!registry.renew(&node(1), TTL_MS, clock.monotonic_ms()).await.unwrap(), "and it is told so");
    registry.register(&node(1), &two).await.unwrap();
    assert_eq!(lookup().await, [vec![node(2)], vec![node(1)]]);
}

/// The suite of [`Bus`].
pub async fn bus(bus: &dyn Bus, name: &str) {
    let node = |at: usize| NodeId(format!("{name}-{at}.1").into());
    let envelope = |from: usize, number| {
        let app = AppId::default();
        let users = vec![UserId::new(&format!("u{from}.{number}")).unwrap()];
        Envelope { from: node(from), number, message: NodeMessage::Viewers { app, users } }
    };
    for number in 1..=50 {
        bus.send(&node(9), envelope(1, number)).await.unwrap();
        bus.send(&node(9), envelope(2, number)).await.unwrap();
        bus.send(&node(8), envelope(1, number)).await.unwrap();
    }
    let mut heard = [0, 0];
    for _ in 0..100 {
        let Some(BusEvent::Message(message)) = bus.receive(&node(9)).await else { panic!("a message") };
        let from = if message.from == node(1) { 1 } else { 2 };
        heard[from - 1] += 1;
        assert_eq!(message, envelope(from, heard[from - 1]), "whole, and in order for each sender");
    }
    assert_eq!(heard, [50, 50], "and not those to another node");
}
