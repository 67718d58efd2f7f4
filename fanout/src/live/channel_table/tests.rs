//! Random interleavings of subscribers, senders, I/O and faults around one table. What a subscriber sees is contiguous
//! and true to the log, and in the end it knows every event: from a delivery, a replay, or a reload it was told to do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fama_protocol::{AppId, Channel, Epoch, Position, ScopedChannel};
use proptest::prelude::*;

use super::*;

const KEPT: usize = 3;

#[derive(Default)]
struct Log {
    top: Option<Position>,
    epochs: u64,
    /// Everything ever appended.
    truth: BTreeMap<(Epoch, u64), u64>,
}

impl Log {
    fn open(&mut self) -> Position {
        if self.top.is_none() {
            self.epochs += 1;
        }
        *self.top.get_or_insert(Position { epoch: Epoch::from_random(self.epochs), offset: 0 })
    }

    fn append(&mut self, event: u64) -> Option<Position> {
        let top = self.top.as_mut()?;
        top.offset += 1;
        self.truth.insert((top.epoch, top.offset), event);
        Some(*top)
    }

    fn read(&mut self, since: u64, epoch: Option<Epoch>) -> ChannelRead {
        let top = self.open();
        let from = (since.saturating_add(1)).max((top.offset + 1).saturating_sub(KEPT as u64)).max(1);
        let wanted = epoch.is_none_or(|epoch| epoch == top.epoch);
        let offsets = (from..=top.offset).filter(|_| wanted);
        ChannelRead { top, entries: offsets.map(|at| (at, payload(self.truth[&(top.epoch, at)]))).collect() }
    }
}

fn payload(event: u64) -> Bytes {
    Bytes::from(event.to_string())
}

#[derive(Default, Clone)]
struct Client {
    wanted: bool,
    live: bool,
    at: Option<Position>,
    asked: Option<Since>,
    known: BTreeSet<u64>,
}

/// Steps of others that may happen at any time, in any order.
#[derive(Debug, Clone)]
enum Pending {
    Io(Action<u8>),
    Answer(Input<u8>),
    /// Appended, not looked up yet.
    Lookup(Position, u64),
    Message(Position, u64),
    /// What was lost is noticed.
    Doubt(bool),
}

struct World {
    table: ChannelTable<u8>,
    channel: ScopedChannel,
    positioned: bool,
    log: Log,
    registered: bool,
    clients: Vec<Client>,
    pending: Vec<Pending>,
    events: u64,
    now: u64,
}

impl World {
    fn new(shared: bool) -> Self {
        let name = if shared { "author:a" } else { "user:#a" };
        let limits =
            TableLimits { tail_entries: 2, pending: 4, checks: 1, gap_ms: 2, ..TableLimits::default() };
        Self {
            table: ChannelTable::new(limits),
            channel: ScopedChannel::new(&AppId::default(), Channel::new(name).unwrap()),
            positioned: true,
            log: Log::default(),
            registered: false,
            clients: vec![Client::default(); 3],
            pending: Vec::new(),
            events: 0,
            now: 0,
        }
    }

    fn input(&mut self, input: Input<u8>) {
        let mut out = Vec::new();
        self.table.on(input, self.now, &mut out);
        for action in out {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action<u8>) {
        match action {
            Action::Reply { subscriber, position, recovered, publications, .. } => {
                let position = position.unwrap();
                let client = &mut self.clients[usize::from(subscriber)];
                assert!(client.wanted && !client.live, "a reply nobody waits for");
                client.live = true;
                let before = client.at.replace(position);
                match (client.asked, recovered) {
                    (Some(Since::Position { epoch, offset }), Some(true)) => {
                        assert_eq!(epoch, Some(position.epoch), "recovered in another epoch");
                        let offsets = publications.iter().map(|(at, _)| *at);
                        assert!(offsets.eq(offset + 1..=position.offset), "{publications:?} to {position:?}");
                        assert_eq!(before, Some(Position { offset, ..position }));
                        for (at, bytes) in publications {
                            let event = self.log.truth[&(position.epoch, at)];
                            assert_eq!(bytes, payload(event));
                            client.known.insert(event);
                        }
                    }
                    (_, recovered) => {
                        assert!(publications.is_empty() && recovered == client.asked.map(|_| false));
                        client.known.extend(0..self.events);
                    }
                }
            }
            Action::Deliver { position, payload: bytes, .. } => {
                let position = position.unwrap();
                let event = self.log.truth[&(position.epoch, position.offset)];
                assert_eq!(bytes, payload(event));
                for client in self.clients.iter_mut().filter(|client| client.live) {
                    let at = client.at.replace(position).unwrap();
                    assert_eq!(Position { offset: at.offset + 1, ..at }, position, "a hole or a repetition");
                    client.known.insert(event);
                }
            }
            Action::Reset { position, .. } => {
                let events = self.events;
                for client in self.clients.iter_mut().filter(|client| client.live) {
                    client.at = Some(position);
                    client.known.extend(0..events);
                }
            }
            Action::Failed { subscriber, .. } => {
                let client = &mut self.clients[usize::from(subscriber)];
                (client.wanted, client.live) = (false, false);
            }
            io => {
                let others = self.pending.iter().filter(|one| matches!(one, Pending::Io(_)));
                assert_eq!(others.count(), 0, "one I/O of a channel at a time");
                self.pending.push(Pending::Io(io));
            }
        }
    }

    fn run(&mut self, at: usize, fails: bool) {
        let channel = self.channel.clone();
        match self.pending.remove(at) {
            Pending::Io(Action::Register { attempt, .. }) => {
                self.registered = true;
                self.pending.push(Pending::Answer(Input::Registered { channel, attempt, ok: !fails }));
            }
            Pending::Io(Action::Read { attempt, since, epoch, .. }) => {
                let read = (!fails).then(|| self.log.read(since, epoch));
                self.pending.push(Pending::Answer(Input::Read { channel, attempt, read }));
            }
            Pending::Io(_) => {
                self.registered = false;
                self.pending.push(Pending::Answer(Input::Unregistered { channel }));
            }
            Pending::Answer(input) => self.input(input),
            Pending::Lookup(position, event) if self.registered => {
                self.pending.push(Pending::Message(position, event));
            }
            Pending::Lookup(..) => {}
            Pending::Doubt(registrations) => self.input(Input::Doubt { registrations }),
            Pending::Message(position, event) => {
                let (position, payload) = (Some(position), payload(event));
                self.input(Input::Incoming { channel, position, payload });
            }
        }
    }

    fn step(&mut self, (kind, pick): (u8, u8)) {
        let client = usize::from(pick) % self.clients.len();
        let pending = self.pending.len();
        match kind {
            0..=5 if pending > 0 => self.run(usize::from(pick) % pending, kind == 5 && pick > 200),
            6 | 7 => {
                let event = self.events;
                self.events += 1;
                let position = self.log.append(event);
                self.pending.extend(position.map(|position| Pending::Lookup(position, event)));
            }
            8 if !self.clients[client].wanted => self.subscribe(client),
            9 if self.clients[client].wanted => {
                (self.clients[client].wanted, self.clients[client].live) = (false, false);
                let (channel, subscriber) = (self.channel.clone(), u8::try_from(client).unwrap());
                self.input(Input::Unsubscribe { channel, subscriber });
            }
            10 => {
                // A message is lost, which numbers tell.
                let lost = self.pending.iter().position(|one| matches!(one, Pending::Message(..)));
                if let Some(at) = lost {
                    self.pending[at] = Pending::Doubt(false);
                }
            }
            11 if pick < 60 => {
                self.log.top = None;
                self.pending.push(Pending::Doubt(true));
            }
            11 if pick < 120 => {
                self.registered = false;
                self.pending.push(Pending::Doubt(true));
            }
            12 if pick < 60 => {
                let (channel, top) = (self.channel.clone(), self.log.top);
                self.input(Input::Touched { channel, top });
            }
            _ => {
                self.now += u64::from(pick % 4);
                self.input(Input::Tick);
            }
        }
    }

    fn subscribe(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.wanted = true;
        client.asked = client.at.map(|at| Since::Position { epoch: Some(at.epoch), offset: at.offset });
        let (since, subscriber) = (client.asked, u8::try_from(at).unwrap());
        let (channel, positioned) = (self.channel.clone(), self.positioned);
        self.input(Input::Subscribe { channel, subscriber, since, positioned });
    }

    /// Faults end; everything under way comes to its end.
    fn settle(&mut self) {
        for _ in 0..3 {
            while let Some(at) = self.pending.len().checked_sub(1) {
                self.run(at, false);
            }
            self.now += 100_000;
            self.input(Input::Tick);
        }
        let wanted: Vec<_> = (0..self.clients.len()).filter(|at| self.clients[*at].wanted).collect();
        for at in &wanted {
            let client = &self.clients[*at];
            assert!(client.live, "client {at} waits for ever");
            assert_eq!(client.at, self.log.top, "client {at} is behind");
            let missing: Vec<_> = (0..self.events).filter(|event| !client.known.contains(event)).collect();
            assert!(missing.is_empty(), "client {at} never learns of {missing:?}");
        }
        assert_eq!(self.table.is_empty(), wanted.is_empty());
        assert_eq!(self.registered, !wanted.is_empty());
        assert_eq!(self.table.checking, 0);
        let tails = self.table.channels.iter().filter_map(|(_, entry)| entry.tail.as_ref());
        assert_eq!(self.table.tails_bytes, tails.map(|tail| tail.bytes()).sum::<usize>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_holes_nothing_twice_nothing_unknown(
        shared: bool,
        steps in proptest::collection::vec((0u8..14, any::<u8>()), 1..120),
    ) {
        let mut world = World::new(shared);
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}

fn channel(name: &str) -> ScopedChannel {
    ScopedChannel::new(&AppId::default(), Channel::new(name).unwrap())
}

/// Opens a channel for subscriber 0 with a log at this offset.
fn opened(name: &str, offset: u64, entries: Vec<(u64, Bytes)>) -> ChannelTable<u8> {
    let mut table = ChannelTable::new(TableLimits::default());
    let (channel, mut out) = (channel(name), Vec::new());
    let since = Some(Since::Position { epoch: Some(Epoch::from_random(1)), offset: 0 });
    let subscribe = Input::Subscribe { channel: channel.clone(), subscriber: 0, since, positioned: true };
    table.on(subscribe, 0, &mut out);
    table.on(Input::Registered { channel: channel.clone(), attempt: 1, ok: true }, 0, &mut out);
    let top = Position { epoch: Epoch::from_random(1), offset };
    table.on(Input::Read { channel, attempt: 2, read: Some(ChannelRead { top, entries }) }, 0, &mut out);
    assert!(matches!(out.last(), Some(Action::Reply { .. })), "{out:?}");
    table
}

#[test]
fn resuming_a_shared_channel_needs_no_io() {
    let mut table = opened("author:a", 9, vec![(8, payload(8)), (9, payload(9))]);
    let ask = |table: &mut ChannelTable<u8>, since| {
        let mut out = Vec::new();
        let channel = channel("author:a");
        table.on(
            Input::Subscribe { channel, subscriber: 1, since: Some(since), positioned: true },
            0,
            &mut out,
        );
        out.pop().unwrap()
    };
    let epoch = Some(Epoch::from_random(1));
    let Action::Reply { recovered, publications, .. } = ask(&mut table, Since::Position { epoch, offset: 7 })
    else {
        panic!("no reply")
    };
    assert_eq!((recovered, publications.len()), (Some(true), 2));
    let Action::Reply { recovered, publications, .. } = ask(&mut table, Since::Latest { epoch, offset: 3 })
    else {
        panic!("no reply")
    };
    assert_eq!((recovered, publications), (Some(true), vec![(9, payload(9))]));
    let Action::Reply { recovered, .. } = ask(&mut table, Since::Position { epoch: None, offset: 9 }) else {
        panic!("no reply")
    };
    assert_eq!(recovered, Some(false), "a foreign epoch proves nothing");
    let Action::Read { since, .. } = ask(&mut table, Since::Position { epoch, offset: 2 }) else {
        panic!("older than the tail: from the log")
    };
    assert_eq!(since, 2);
}

#[test]
fn a_message_out_of_turn_waits_before_the_log_is_read() {
    let mut table = opened("user:#a", 0, Vec::new());
    let mut out = Vec::new();
    let mut incoming = |table: &mut ChannelTable<u8>, offset, now| {
        let position = Some(Position { epoch: Epoch::from_random(1), offset });
        out.clear();
        let channel = channel("user:#a");
        table.on(Input::Incoming { channel, position, payload: payload(offset) }, now, &mut out);
        out.len()
    };
    assert_eq!(incoming(&mut table, 2, 0), 0);
    assert_eq!(incoming(&mut table, 1, 30), 2, "both in order");
    assert_eq!(incoming(&mut table, 4, 100), 0);
    let mut out = Vec::new();
    assert_eq!(table.next_due(), Some(140));
    table.on(Input::Tick, 139, &mut out);
    assert_eq!(out, []);
    table.on(Input::Tick, 140, &mut out);
    assert!(matches!(out[..], [Action::Read { since: 2, .. }]), "{out:?}");
}

#[test]
fn channels_without_a_log_only_register() {
    let mut table = ChannelTable::new(TableLimits::default());
    let (channel, mut out) = (channel("chat:room"), Vec::new());
    let subscribe =
        Input::Subscribe { channel: channel.clone(), subscriber: 1u8, since: None, positioned: false };
    table.on(subscribe.clone(), 0, &mut out);
    table.on(Input::Registered { channel: channel.clone(), attempt: 1, ok: true }, 0, &mut out);
    table.on(Input::Incoming { channel: channel.clone(), position: None, payload: payload(1) }, 0, &mut out);
    assert!(
        matches!(out[..], [Action::Register { .. }, Action::Reply { .. }, Action::Deliver { .. }]),
        "{out:?}"
    );
    out.clear();
    table.on(Input::Unsubscribe { channel: channel.clone(), subscriber: 1 }, 0, &mut out);
    table.on(subscribe, 0, &mut out);
    assert!(matches!(out[..], [Action::Unregister { .. }]), "coming waits for leaving: {out:?}");
    table.on(Input::Unregistered { channel }, 0, &mut out);
    assert!(matches!(out[1..], [Action::Register { .. }]), "{out:?}");
}

#[test]
fn many_doubted_channels_are_checked_a_few_at_a_time() {
    let limits = TableLimits { checks: 2, ..TableLimits::default() };
    let mut table = ChannelTable::new(limits);
    let (mut out, mut answers) = (Vec::new(), Vec::new());
    let top = Position { epoch: Epoch::from_random(1), offset: 0 };
    let answer = |action| match action {
        Action::Register { channel, attempt } => Some(Input::Registered { channel, attempt, ok: true }),
        Action::Read { channel, attempt, .. } => {
            Some(Input::Read { channel, attempt, read: Some(ChannelRead { top, entries: Vec::new() }) })
        }
        _ => None,
    };
    for at in 0..10u8 {
        let channel = channel(&format!("user:#{at}"));
        table.on(Input::Subscribe { channel, subscriber: at, since: None, positioned: true }, 0, &mut out);
        while let Some(input) = out.pop().and_then(answer) {
            table.on(input, 0, &mut out);
        }
    }
    out.clear();
    table.on(Input::Doubt { registrations: true }, 0, &mut out);
    let mut rounds = 0;
    while !out.is_empty() {
        assert!(out.len() <= 2, "{out:?}");
        rounds += 1;
        answers.extend(out.drain(..).filter_map(answer));
        answers.drain(..).for_each(|input| table.on(input, 0, &mut out));
    }
    assert_eq!(rounds, 10, "a registry write and a read of ten channels, two at a time");
}
