//! The logic of a connection against any order of events.

use std::collections::{BTreeMap, BTreeSet};

use fama_protocol::centrifuge::client::{self, Reply};
use fama_protocol::{Epoch, Position};
use proptest::prelude::*;

use super::*;
use crate::config::{ChannelRules, Namespace, Permission, Recovery};
use crate::gateway::Namespaces;
use crate::gateway::ports::{Principal, SubscriptionGrant, TokenRefusal};

/// Numbers for names, counted.
#[derive(Default)]
struct Numbers {
    names: Vec<(ScopedChannel, u32)>,
}

impl Names for Numbers {
    fn find(&self, channel: &ScopedChannel) -> Option<Slot> {
        let at = self.names.iter().position(|(name, count)| name == channel && *count > 0)?;
        u32::try_from(at).ok()
    }

    fn intern(&mut self, channel: &ScopedChannel) -> Slot {
        if let Some(slot) = self.find(channel) {
            self.names[slot as usize].1 += 1;
            return slot;
        }
        self.names.push((channel.clone(), 1));
        u32::try_from(self.names.len() - 1).unwrap()
    }

    fn release(&mut self, slot: Slot) {
        self.names[slot as usize].1 -= 1;
    }

    fn name(&self, slot: Slot) -> Option<&ScopedChannel> {
        self.names.get(slot as usize).filter(|(_, count)| *count > 0).map(|(name, _)| name)
    }
}

/// A connection and the world around it, which answers when the test says so.
struct World {
    connection: Connection,
    names: Numbers,
    config: GatewayConfig,
    now_ms: u64,
    asked: Vec<Action>,
    open: BTreeSet<Slot>,
    live: BTreeSet<Slot>,
    present: BTreeSet<Slot>,
    replies: Vec<Reply>,
    pings: usize,
    closed: Option<u16>,
}

fn world() -> World {
    let rules = ChannelRules {
        subscribe: Permission::User,
        publish: Permission::User,
        history_size: 10,
        recovery: Recovery::Stream,
        allow_history_for_subscriber: true,
        presence: true,
        join_leave: true,
        allow_presence_for_subscriber: true,
        ..ChannelRules::default()
    };
    let named = [Namespace { name: "chat".into(), rules }];
    let namespaces = Namespaces::new(&named, &ChannelRules::default()).unwrap();
    World {
        connection: Connection::new(0, false),
        names: Numbers::default(),
        config: GatewayConfig { namespaces: namespaces.into(), ..GatewayConfig::default() },
        now_ms: 0,
        asked: Vec::new(),
        open: BTreeSet::new(),
        live: BTreeSet::new(),
        present: BTreeSet::new(),
        replies: Vec::new(),
        pings: 0,
        closed: None,
    }
}

impl World {
    fn give<R>(&mut self, event: impl FnOnce(&mut Connection, &mut Context<'_>) -> R) -> R {
        let (mut out, mut actions) = (Replies::default(), Vec::new());
        let mut cx = Context {
            now_ms: self.now_ms,
            unix: UnixMs(1_000_000 + self.now_ms),
            config: &self.config,
            names: &mut self.names,
            client: 7,
            random: 5,
            out: &mut out,
            actions: &mut actions,
        };
        let result = event(&mut self.connection, &mut cx);
        let text = String::from_utf8(out.0).unwrap();
        self.replies.extend(
            text.split('\n').filter(|line| !line.is_empty()).map(|line| client::decode(line).unwrap()),
        );
        for action in actions {
            match action {
                Action::Subscribe { slot, .. } => {
                    assert!(self.open.insert(slot), "subscribed twice");
                    self.asked.push(action);
                }
                Action::Unsubscribe { slot, member, present } => {
                    assert!(self.open.remove(&slot), "unsubscribed without a subscription");
                    assert_eq!(member.is_some(), self.live.remove(&slot), "member of {slot}");
                    assert_eq!(present, self.present.remove(&slot), "present in {slot}");
                    self.names.release(slot);
                }
                Action::Appear { slot, .. } => {
                    assert!(self.live.contains(&slot), "it is there already");
                    assert!(self.present.insert(slot), "appeared twice");
                }
                Action::Ping => self.pings += 1,
                Action::Close(code) => {
                    assert!(self.closed.replace(code.code).is_none(), "closed twice");
                }
                Action::Hold | Action::Release | Action::Join { .. } => {}
                _ => self.asked.push(action),
            }
        }
        result
    }

    fn text(&mut self, text: &str) {
        self.give(|connection, cx| connection.on_text(text, cx));
    }

    /// Answers one of the questions, well or badly.
    fn answer(&mut self, which: usize, well: bool) {
        if self.asked.is_empty() {
            return;
        }
        match self.asked.remove(which % self.asked.len()) {
            Action::Authenticate { token } => {
                let principal = Principal {
                    app: AppId::default(),
                    user: UserId::new(&token).ok(),
                    expires_at: Some(UnixMs(1_000_000 + self.now_ms + 60_000)),
                    jti: None,
                    info: None,
                };
                let result = if well { Ok(principal) } else { Err(TokenRefusal::Unavailable) };
                self.give(|connection, cx| connection.on_authenticated(result, cx));
            }
            Action::Grant { token } => {
                let grant = SubscriptionGrant {
                    app: AppId::default(),
                    user: UserId::new("alice").ok(),
                    channel: Channel::new(&token).unwrap(),
                    expires_at: None,
                    info: Some(Bytes::from_static(b"{}")),
                };
                let result = if well { Ok(grant) } else { Err(TokenRefusal::Expired) };
                self.give(|connection, cx| connection.on_granted(result, cx));
            }
            Action::Enter { .. } => {
                let authors = well.then(|| vec![UserId::new("star").unwrap()]);
                self.give(|connection, cx| connection.on_entered(authors, cx));
            }
            Action::Subscribe { slot, .. } if well => {
                if self.connection.awaits(slot) {
                    self.live.insert(slot);
                    let position = Some(Position { epoch: Epoch::from_random(3), offset: 4 });
                    let opened = Opened { position, recovered: None, publications: Vec::new() };
                    assert!(self.give(|connection, cx| connection.on_opened(slot, 0, opened, cx)));
                }
            }
            Action::Subscribe { slot, .. } => self.give(|connection, cx| connection.on_failed(slot, cx)),
            Action::Publish { .. } => self.give(|connection, cx| connection.on_published(well, cx)),
            Action::History(_) => self.give(|connection, cx| {
                connection.on_history(Err(fama_protocol::centrifuge::ErrorCode::INTERNAL), cx);
            }),
            Action::Members { .. } => self.give(|connection, cx| {
                let read = if well {
                    MembersRead::Count(fama_presence::MemberCounts::default())
                } else {
                    MembersRead::List(Vec::new())
                };
                connection.on_members(read, cx);
            }),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.answer(0, true);
        }
    }
}

#[test]
fn pings_come_and_want_pongs_and_tokens_end() {
    let mut world = world();
    world.text("{\"id\":1,\"connect\":{\"token\":\"alice\"}}");
    world.settle();
    assert_eq!(world.replies[0].connect.as_ref().unwrap().subs.len(), 2);
    let next = |world: &mut World| {
        world.now_ms = world.connection.deadline();
        world.give(Connection::on_time);
        world.now_ms
    };
    let first = next(&mut world);
    assert!((12_500..25_000).contains(&first) && world.pings == 1, "{first}");
    world.text("{}");
    next(&mut world);
    assert_eq!((next(&mut world), world.pings, world.closed), (first + 25_000, 2, None));
    assert_eq!((next(&mut world), world.closed), (first + 33_000, Some(3012)));

    let mut world = super::tests::world();
    world.config.ping_s = 0;
    world.text("{\"id\":1,\"connect\":{\"token\":\"alice\"}}");
    world.settle();
    assert_eq!((next(&mut world), world.closed), (65_000, Some(3005)));

    let mut world = super::tests::world();
    assert_eq!((next(&mut world), world.closed), (10_000, Some(3502)));
}

fn commands() -> impl Strategy<Value = String> {
    let channel =
        prop_oneof![Just("chat:a"), Just("chat:b"), Just("user:#alice"), Just("author:star"), Just("x:y")];
    (0u8..9, channel).prop_map(|(what, channel)| match what {
        0 | 1 => format!("\"subscribe\":{{\"channel\":\"{channel}\"}}"),
        2 => format!("\"subscribe\":{{\"channel\":\"{channel}\",\"token\":\"{channel}\"}}"),
        3 | 4 => format!("\"unsubscribe\":{{\"channel\":\"{channel}\"}}"),
        5 => format!("\"publish\":{{\"channel\":\"{channel}\",\"data\":1}}"),
        7 => format!("\"presence_stats\":{{\"channel\":\"{channel}\"}}"),
        6 => format!("\"history\":{{\"channel\":\"{channel}\"}}"),
        _ => "\"refresh\":{\"token\":\"alice\"}".to_owned(),
    })
}

#[derive(Debug, Clone)]
enum Step {
    Command(String),
    Answer(usize, bool),
    Insufficient(usize),
    Authors(bool),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is asked, answered and lost in whichever order: every command is answered once, channels are subscribed and
    /// left in turn, and in the end nothing is left behind.
    #[test]
    fn every_command_is_answered_once(steps in proptest::collection::vec(prop_oneof![
        6 => commands().prop_map(Step::Command),
        6 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(which, well)| Step::Answer(which, well)),
        1 => any::<usize>().prop_map(Step::Insufficient),
        1 => any::<bool>().prop_map(Step::Authors),
    ], 0..60)) {
        let mut world = world();
        world.config.limits.errors = u8::MAX;
        world.text("{\"id\":1,\"connect\":{\"token\":\"alice\"}}");
        let mut sent = BTreeSet::from([1u32]);
        for (id, step) in (2u32..).zip(steps) {
            match step {
                Step::Command(command) => {
                    world.text(&format!("{{\"id\":{id},{command}}}"));
                    sent.insert(id);
                }
                Step::Answer(which, well) => world.answer(which, well),
                Step::Insufficient(which) => {
                    let live: Vec<_> = world.live.iter().copied().filter(|slot| {
                        world.names.name(*slot).is_some_and(|name| name.channel.as_str().starts_with("chat"))
                    }).collect();
                    if !live.is_empty() {
                        world.give(|connection, cx| connection.on_insufficient(live[which % live.len()], cx));
                    }
                }
                Step::Authors(some) => {
                    let authors = [UserId::new("star").unwrap()];
                    let authors = if some { &authors[..] } else { &[] };
                    world.give(|connection, cx| connection.on_authors(authors, cx));
                }
            }
            if world.closed.is_some() {
                break;
            }
        }
        world.settle();
        let mut answers = BTreeMap::<u32, u32>::new();
        for reply in world.replies.iter().filter(|reply| reply.id > 0) {
            *answers.entry(reply.id).or_default() += 1;
        }
        prop_assert!(answers.values().all(|count| *count == 1), "{answers:?}");
        let refused = world.replies.first().is_some_and(|reply| reply.error.is_some());
        if world.closed.is_none() && !refused {
            prop_assert_eq!(answers.keys().copied().collect::<BTreeSet<_>>(), sent);
            prop_assert_eq!(&world.live, &world.open);
        }
        if world.closed.is_none() && !refused {
            let chats = world.live.iter().filter(|slot| {
                world.names.name(**slot).is_some_and(|name| name.channel.as_str().starts_with("chat"))
            });
            prop_assert_eq!(chats.copied().collect::<BTreeSet<_>>(), world.present.clone());
        }
        world.give(Connection::leave);
        prop_assert!(world.open.is_empty() && world.present.is_empty());
        prop_assert!(world.names.names.iter().all(|(_, count)| *count == 0));
    }

    /// Nothing that a client writes makes it panic.
    #[test]
    fn any_text_is_survived(texts in proptest::collection::vec(".{0,80}", 0..5), connected: bool) {
        let mut world = world();
        if connected {
            world.text("{\"id\":1,\"connect\":{\"token\":\"alice\"}}");
            world.settle();
        }
        for text in texts {
            world.text(&text);
            world.settle();
        }
    }
}
