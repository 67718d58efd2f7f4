//! Sending: append → lookup → send. Any other order loses something: a subscriber that registers after the lookup must
//! find the event in the log that it reads after registering.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use fama_protocol::{AppId, Channel, Position, ScopedChannel, UserId};
use futures_util::future::{Either, join_all, select};
use futures_util::lock::Mutex;

use super::bus::{Bus, Envelope, NodeMessage};
use super::event::{EventRef, LiveEvent};
use super::log::{Appended, LiveLog, LogEntry, LogLimits, MAX_CHANNELS, Subject};
use super::registry::{NodeId, Registry};
use crate::settings::Mutant;
use crate::{Clock, FanoutError, Result};

/// Longest wait for the bus to take a message. After it the message counts as lost: its number is missing.
const SEND_TIMEOUT_MS: u64 = 1_000;
/// A node not sent anything for so long is forgotten. The first message after it begins at 1 again, which the receiver
/// takes as a doubt.
const FORGET_MS: u64 = 600_000;

/// Numbers of messages to one node.
#[derive(Default)]
struct Target {
    /// Of the last message.
    number: u64,
    /// When it was sent (monotonic).
    at_ms: u64,
    /// Set when it was forgotten while somebody waited for it.
    gone: bool,
}

/// The sending side of live delivery: one of each process that runs workers or takes publications.
pub struct Delivery {
    log: Arc<dyn LiveLog>,
    registry: Arc<dyn Registry>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    node: NodeId,
    targets: DashMap<NodeId, Arc<Mutex<Target>>>,
    mutant: Option<Mutant>,
}

impl Delivery {
    /// `node` is this incarnation: numbers count from 1 for each.
    pub fn new(
        log: Arc<dyn LiveLog>,
        registry: Arc<dyn Registry>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        node: NodeId,
    ) -> Self {
        Self { log, registry, bus, clock, node, targets: DashMap::new(), mutant: None }
    }

    /// The same with a planted bug.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// Delivers an event to users' own channels: those that have a log, which is those online now or a moment ago.
    /// May be repeated. An error says that some may not have got it: repeat.
    pub async fn to_users(&self, app: &AppId, event: &LiveEvent, users: &[UserId]) -> Result<()> {
        let entry = log_entry(event);
        for users in users.chunks(MAX_CHANNELS) {
            let channels: Vec<_> =
                users.iter().map(|user| ScopedChannel::new(app, Channel::user(user))).collect();
            let mut early = None;
            if self.mutant == Some(Mutant::LookupFirst) {
                early = Some(self.registry.lookup(&channels, self.clock.monotonic_ms()).await?);
            }
            let appended = self.log.append(&channels, &entry, self.clock.monotonic_ms()).await?;
            let skips = self.mutant == Some(Mutant::DuplicateSkips);
            let (mut online, mut to) = (Vec::new(), Vec::new());
            for ((user, channel), appended) in users.iter().zip(channels).zip(appended) {
                if let Some(Appended { position, .. }) = appended.filter(|one| one.new || !skips) {
                    online.push(channel);
                    to.push((user, position));
                }
            }
            if online.is_empty() {
                continue;
            }
            let nodes = match early.filter(|early| early.len() == online.len()) {
                Some(early) => early,
                None => self.registry.lookup(&online, self.clock.monotonic_ms()).await?,
            };
            let mut by_node = BTreeMap::<NodeId, Vec<(UserId, Position)>>::new();
            for ((user, position), nodes) in to.into_iter().zip(nodes) {
                for node in nodes {
                    by_node.entry(node).or_default().push((user.clone(), position));
                }
            }
            let sends = by_node.into_iter().map(|(node, to)| {
                let (app, data, actor) = (app.clone(), event.data.clone(), event.actor.clone());
                self.send(node, NodeMessage::Users { app, data, actor, to })
            });
            join_all(sends).await;
        }
        Ok(())
    }

    /// Delivers an event to an author's channel. May be repeated.
    pub async fn to_author_channel(&self, app: &AppId, author: &UserId, event: &LiveEvent) -> Result<()> {
        let channel = ScopedChannel::new(app, Channel::author(author));
        let channels = std::slice::from_ref(&channel);
        let appended = self.log.append(channels, &log_entry(event), self.clock.monotonic_ms()).await?;
        if let Some(Some(Appended { position, .. })) = appended.first() {
            self.to_channel(&channel, Some(*position), &event.data).await?;
        }
        Ok(())
    }

    /// Publishes to an app's own channel: `publication` is an encoded [`super::Publication`]. With limits it is kept
    /// in the channel's history, and its position is returned; without, only those subscribed now get it. With an event id
    /// a repetition is delivered once where there is history.
    pub async fn publish(
        &self,
        channel: &ScopedChannel,
        publication: Bytes,
        limits: Option<LogLimits>,
        event_id: Option<String>,
    ) -> Result<Option<Position>> {
        let mut position = None;
        if let Some(limits) = limits {
            let event_id = event_id
                .unwrap_or_else(|| format!("{:016x}{:016x}", self.clock.random(), self.clock.random()));
            let entry = LogEntry { event_id, subject: None, payload: publication.clone() };
            position = Some(self.append_opening(channel, limits, &entry).await?);
        }
        self.to_channel(channel, position, &publication).await?;
        Ok(position)
    }

    /// Tells the nodes that serve these users to load their relations again. A hint: what is lost is found by numbers.
    pub async fn viewers_changed(&self, app: &AppId, users: &[UserId]) -> Result<()> {
        for users in users.chunks(MAX_CHANNELS) {
            let channels: Vec<_> =
                users.iter().map(|user| ScopedChannel::new(app, Channel::user(user))).collect();
            let nodes = self.registry.lookup(&channels, self.clock.monotonic_ms()).await?;
            let mut by_node = BTreeMap::<NodeId, Vec<UserId>>::new();
            for (user, nodes) in users.iter().zip(nodes) {
                for node in nodes {
                    by_node.entry(node).or_default().push(user.clone());
                }
            }
            let sends = by_node
                .into_iter()
                .map(|(node, users)| self.send(node, NodeMessage::Viewers { app: app.clone(), users }));
            join_all(sends).await;
        }
        Ok(())
    }

    /// Repeats the last number to every node sent to, so that a lost last message is noticed: to be called each second.
    /// Forgets nodes not sent anything for ten minutes.
    pub async fn beat_once(&self) {
        let now = self.clock.monotonic_ms();
        let mut targets: Vec<_> =
            self.targets.iter().map(|t| (t.key().clone(), Arc::clone(t.value()))).collect();
        targets.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let beats = targets.into_iter().map(|(node, target)| async move {
            let mut held = target.lock().await;
            if now.saturating_sub(held.at_ms) > FORGET_MS {
                held.gone = true;
                self.targets.remove(&node);
            } else {
                self.hand_over(&node, held.number, NodeMessage::Beat).await;
            }
        });
        join_all(beats).await;
    }

    /// Appends to a log that is opened if it is not there.
    async fn append_opening(
        &self,
        channel: &ScopedChannel,
        limits: LogLimits,
        entry: &LogEntry,
    ) -> Result<Position> {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            self.log.open(channel, limits, self.clock.random(), self.clock.monotonic_ms()).await?;
            let channels = std::slice::from_ref(channel);
            let appended = self.log.append(channels, entry, self.clock.monotonic_ms()).await?;
            if let Some(Some(appended)) = appended.first() {
                return Ok(appended.position);
            }
        }
        Err(FanoutError::Projection { what: "the live log", why: "a log opened is gone at once".to_owned() })
    }

    /// Lookup and send.
    async fn to_channel(
        &self,
        channel: &ScopedChannel,
        position: Option<Position>,
        payload: &Bytes,
    ) -> Result<()> {
        let nodes = self.registry.lookup(std::slice::from_ref(channel), self.clock.monotonic_ms()).await?;
        let sends = nodes.into_iter().flatten().map(|node| {
            let (channel, payload) = (channel.clone(), payload.clone());
            self.send(node, NodeMessage::Channel { channel, position, payload })
        });
        join_all(sends).await;
        Ok(())
    }

    /// Numbers a message and hands it over, one at a time for each node, so that numbers leave in order. If this is
    /// dropped halfway the number is missing, and the node notices.
    async fn send(&self, node: NodeId, message: NodeMessage) {
        loop {
            let target = Arc::clone(&self.targets.entry(node.clone()).or_default());
            let mut held = target.lock().await;
            if held.gone {
                continue;
            }
            held.number += 1;
            held.at_ms = self.clock.monotonic_ms();
            let number = held.number;
            return self.hand_over(&node, number, message).await;
        }
    }

    /// Failures are for the receiver to find: it misses the number.
    async fn hand_over(&self, node: &NodeId, number: u64, message: NodeMessage) {
        let envelope = Envelope { from: self.node.clone(), number, message };
        let send = self.bus.send(node, envelope);
        match select(send, self.clock.sleep(SEND_TIMEOUT_MS)).await {
            Either::Left((Ok(()), _)) => {}
            Either::Left((Err(error), _)) => tracing::debug!(%error, to = %node.0, "message lost"),
            Either::Right(_) => tracing::debug!(to = %node.0, "message lost: the bus is slow"),
        }
    }
}

/// What a log keeps of an event.
fn log_entry(event: &LiveEvent) -> LogEntry {
    let last = matches!(event.reference, EventRef::PostDeleted { .. });
    let subject = event.reference.post().map(|post| Subject { id: post.get(), last });
    LogEntry { event_id: event.event_id.clone(), subject, payload: event.reference.encode() }
}
