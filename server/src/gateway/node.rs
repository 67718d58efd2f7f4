//! What the node does besides its shards: hears the bus, keeps its lease, keeps relations fresh.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fama_fanout::live::{BEAT_MS, BusEvent, NodeMessage, NodeReceiver, VOID, ViewerChange};
use fama_protocol::event::Event;
use fama_protocol::{AppId, Channel, ChannelKind, Position, ScopedChannel, UserId};
use tokio::sync::Notify;

use super::inbox::{Mail, TableInput, event_members};
use super::ports::Ports;
use super::shard::Shared;
use super::work::{app_payload, authors_of};

/// The node's lease, and how often it is renewed.
const LEASE_MS: u64 = 15_000;
const RENEW: Duration = Duration::from_secs(5);
/// Users whose relations are read again in one go.
const RELOAD: usize = 1_000;

/// The node's own tasks.
pub struct Node {
    ports: Ports,
    shared: Arc<Shared>,
    /// Users whose celebrities or mutes may have changed.
    changed: Mutex<HashSet<(AppId, UserId)>>,
    reload: Notify,
}

impl Node {
    /// Nothing is heard yet.
    pub fn new(ports: Ports, shared: Arc<Shared>) -> Self {
        Self { ports, shared, changed: Mutex::default(), reload: Notify::new() }
    }

    /// Hears the bus until it is closed.
    pub async fn hear(&self) {
        let mut receiver = NodeReceiver::new();
        let mut second = tokio::time::interval(Duration::from_millis(BEAT_MS));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.ports.bus.receive(&self.ports.node) => match event {
                    Some(event) => self.on_event(&mut receiver, event),
                    None => return,
                },
                _ = second.tick() => {
                    if receiver.tick(self.ports.clock.monotonic_ms()) {
                        self.doubt(false);
                    }
                }
            }
        }
    }

    fn on_event(&self, receiver: &mut NodeReceiver, event: BusEvent) {
        let heard = receiver.on(event, self.ports.clock.monotonic_ms());
        if heard.doubt {
            self.doubt(false);
        }
        match heard.message {
            Some(NodeMessage::Users { app, data, actor, to }) => self.on_users(&app, &data, &actor, to),
            Some(NodeMessage::Channel { channel, position, payload }) => {
                let payload = match channel.channel.kind() {
                    ChannelKind::App { .. } => app_payload(&payload),
                    _ => event_members(&payload),
                };
                self.incoming(channel, position, payload);
            }
            Some(NodeMessage::Viewers { app, users }) => {
                for user in users {
                    self.viewer_changed(&app, &user, None);
                }
            }
            Some(NodeMessage::Beat) | None => {}
        }
    }

    /// One event for many users: those who hide the actor get a void in its place.
    fn on_users(&self, app: &AppId, data: &Bytes, actor: &UserId, to: Vec<(UserId, Position)>) {
        let (shown, void) = (event_members(data), event_members(&VOID));
        let relation = relation_of(data);
        for (user, position) in to {
            let channel = ScopedChannel::new(app, Channel::user(&user));
            match self.ports.viewers.get(app, &user) {
                Some(viewer) => {
                    let payload = if viewer.hides(actor) { &void } else { &shown };
                    self.incoming(channel, Some(position), payload.clone());
                }
                // Whom they hide is not known yet: the log is read with that in mind.
                None => self.hint(&channel.clone(), TableInput::Recheck { channel }),
            }
            if let Some((hidden, target)) = &relation {
                self.viewer_changed(app, &user, hidden.then_some(target));
            }
        }
    }

    fn viewer_changed(&self, app: &AppId, user: &UserId, hidden: Option<&UserId>) {
        if self.ports.viewers.get(app, user).is_none() {
            return;
        }
        self.ports.viewers.changed(app, user, hidden);
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.insert((app.clone(), user.clone()));
        drop(changed);
        self.reload.notify_one();
    }

    fn incoming(&self, channel: ScopedChannel, position: Option<Position>, payload: Bytes) {
        self.hint(&channel.clone(), TableInput::Incoming { channel, position, payload });
    }

    fn hint(&self, channel: &ScopedChannel, input: TableInput) {
        if let Some(inbox) = self.shared.inboxes.get(self.shared.owner(channel)) {
            inbox.hint(Mail::Table(input));
        }
    }

    /// Messages may be lost, or even the node's registrations.
    fn doubt(&self, registrations: bool) {
        self.ports.viewers.doubt();
        for inbox in &self.shared.inboxes {
            inbox.send(Mail::Table(TableInput::Doubt { registrations }));
        }
        self.reload.notify_one();
    }

    /// Keeps the node's lease.
    pub async fn renew(&self) {
        let mut interval = tokio::time::interval(RENEW);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let now_ms = self.ports.clock.monotonic_ms();
            match self.ports.registry.renew(&self.ports.node, LEASE_MS, now_ms).await {
                Ok(true) => {}
                Ok(false) => self.doubt(true),
                Err(error) => tracing::warn!(%error, "the node's lease is not renewed"),
            }
        }
    }

    /// Reads relations again that changed, and tells connections what that means.
    pub async fn reload(&self) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.reload.notified() => {}
                _ = second.tick() => {}
            }
            let changed = {
                let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *changed)
            };
            let mut changes = self.ports.viewers.reload(RELOAD).await;
            changes.extend(self.ports.viewers.compare_lists().await);
            let more = changes.into_iter().map(|change| (change.app, change.user));
            for (app, user) in changed.into_iter().chain(more).collect::<HashSet<_>>() {
                self.tell(&app, &user);
            }
        }
    }

    /// Celebrities of these users changed.
    pub fn apply(&self, changes: Vec<ViewerChange>) {
        for change in changes {
            self.tell(&change.app, &change.user);
        }
    }

    fn tell(&self, app: &AppId, user: &UserId) {
        let Some(viewer) = self.ports.viewers.get(app, user) else { return };
        let owner = self.shared.owner_of_user(app, user);
        if let Some(inbox) = self.shared.inboxes.get(owner) {
            let (app, user, authors) = (app.clone(), user.clone(), authors_of(&viewer).into());
            inbox.send(Mail::Authors { app, user, authors });
        }
    }
}

/// For an event of a relation: whether it hides somebody, and whom.
fn relation_of(data: &Bytes) -> Option<(bool, UserId)> {
    if !data.starts_with(b"{\"type\":\"relation.changed\"") {
        return None;
    }
    match serde_json::from_slice(data).ok()? {
        Event::RelationChanged { kind, user, active } => Some((active && kind != "follow", user)),
        _ => None,
    }
}
