//! From log entries to the JSON that goes over the wire: for resuming and for filling gaps.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fama_protocol::event::Event;
use fama_protocol::{AppId, ChannelKind, Epoch, NotificationId, PostId, ScopedChannel, UserId};
use fama_storage::{GraphStore, InboxStore, Post, PostStore, Stores, UserStore};

use super::channel_table::ChannelRead;
use super::event::{EventRef, EventRefError};
use super::log::{LiveLog, LogLimits};
use crate::notify::{self, NamedViews};
use crate::{Clock, FanoutError, Result, view};

/// An entry that the viewer may not see, or no longer: it keeps its offset.
pub const VOID: Bytes = Bytes::from_static(br#"{"type":"void"}"#);

/// Reads logs and resolves their references as things are now.
pub struct Resolver {
    log: Arc<dyn LiveLog>,
    posts: Arc<dyn PostStore>,
    graph: Arc<dyn GraphStore>,
    inbox: Arc<dyn InboxStore>,
    users: Arc<dyn UserStore>,
    clock: Arc<dyn Clock>,
    /// Entries of one read, at most: who missed more reloads.
    max_entries: usize,
}

impl Resolver {
    /// `max_entries` from 1 to 1,000.
    pub fn new(log: Arc<dyn LiveLog>, stores: &Stores, clock: Arc<dyn Clock>, max_entries: usize) -> Self {
        let Stores { posts, graph, inbox, users, .. } = stores.clone();
        Self { log, posts, graph, inbox, users, clock, max_entries: max_entries.clamp(1, 1_000) }
    }

    /// Does [`super::Action::Read`]: opens the log and reads it after `since`, entries resolved. With an `epoch`, entries
    /// of a log of another one are left out.
    pub async fn read(
        &self,
        channel: &ScopedChannel,
        limits: LogLimits,
        since: u64,
        epoch: Option<Epoch>,
    ) -> Result<ChannelRead> {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let (random, now) = (self.clock.random(), self.clock.monotonic_ms());
            self.log.open(channel, limits, random, now).await?;
            let now = self.clock.monotonic_ms();
            let Some(read) = self.log.since(channel, since, self.max_entries, now).await? else { continue };
            let unwanted = epoch.is_some_and(|epoch| epoch != read.top.epoch);
            let entries = if unwanted { Vec::new() } else { read.entries };
            let entries = self.resolve(channel, entries).await?;
            return Ok(ChannelRead { top: read.top, entries });
        }
        Err(FanoutError::Projection { what: "the live log", why: "a log opened is gone at once".to_owned() })
    }

    /// The entries in their final form. Entries of `author:` channels are the same for all viewers: who hides the author
    /// is for the caller to know. Those of the app's own channels stay as they are.
    pub async fn resolve(
        &self,
        channel: &ScopedChannel,
        entries: Vec<(u64, Bytes)>,
    ) -> Result<Vec<(u64, Bytes)>> {
        let viewer = match channel.channel.kind() {
            _ if entries.is_empty() => return Ok(entries),
            ChannelKind::User(id) => UserId::new(id).ok(),
            ChannelKind::Author(_) => None,
            ChannelKind::Presence(_) | ChannelKind::App { .. } => return Ok(entries),
        };
        let app = &channel.app;
        let references: Vec<_> =
            entries.into_iter().map(|(offset, bytes)| (offset, EventRef::decode(&bytes))).collect();
        let mut ids: Vec<_> =
            references.iter().filter_map(|(_, event)| event.as_ref().ok().and_then(EventRef::post)).collect();
        ids.sort_unstable();
        ids.dedup();
        let posts = self.posts.get_many(app, &ids).await?;
        let posts: HashMap<_, _> =
            ids.into_iter().zip(posts).filter_map(|(id, post)| Some((id, post?))).collect();
        let gate = match &viewer {
            Some(viewer) => Some(self.gate(app, viewer, posts.values()).await?),
            None => None,
        };
        let inbox = self.inbox(app, viewer.as_ref(), &references).await?;
        let shown = |event| match (event, &inbox) {
            (Ok(EventRef::Notification { id }), Some(inbox)) => inbox.group(id),
            (Ok(EventRef::InboxMarked), Some(inbox)) => inbox.marked.clone(),
            (Ok(event), _) => shown(event, &posts, gate.as_ref()),
            (Err(_), _) => VOID,
        };
        Ok(references.into_iter().map(|(offset, event)| (offset, shown(event))).collect())
    }

    /// What is said of the inbox, as it is now; nothing if no entry is about it.
    async fn inbox(
        &self,
        app: &AppId,
        viewer: Option<&UserId>,
        references: &[(u64, std::result::Result<EventRef, EventRefError>)],
    ) -> Result<Option<InboxNow>> {
        let about = |(_, event): &(u64, std::result::Result<EventRef, EventRefError>)| {
            matches!(event, Ok(EventRef::Notification { .. } | EventRef::InboxMarked))
        };
        let Some(viewer) = viewer.filter(|_| references.iter().any(about)) else { return Ok(None) };
        let ids = references.iter().filter_map(|(_, event)| match event {
            Ok(EventRef::Notification { id }) => Some(*id),
            _ => None,
        });
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let now = self.clock.now();
        let groups = self.inbox.groups(app, viewer, &ids, now).await?;
        let counts = self.inbox.inbox_counts(app, viewer, now).await?;
        let views = NamedViews::of(&*self.users, app, groups.iter().flatten()).await?;
        let events = ids.into_iter().zip(groups).map(|(id, group)| match group {
            Some(group) => (id, views.event(group, &counts)),
            None => (id, notify::deleted(id, &counts)),
        });
        Ok(Some(InboxNow { groups: events.collect(), marked: notify::marked(&counts) }))
    }

    /// Whose posts the viewer may see in a replay, by the store as it is now.
    async fn gate<'a>(
        &self,
        app: &AppId,
        viewer: &UserId,
        posts: impl Iterator<Item = &'a Post>,
    ) -> Result<Gate> {
        let relations = self.graph.relations(app, viewer).await?;
        let mut authors: Vec<_> = posts.map(|post| &post.author).filter(|author| *author != viewer).collect();
        authors.sort_unstable();
        authors.dedup();
        let mut open = HashMap::from([(viewer.clone(), PostId::MAX)]);
        let hidden = [&relations.blocks, &relations.blocked_by, &relations.mutes];
        authors.retain(|author| !hidden.iter().any(|list| list.contains(author)));
        if relations.blocked_by_more {
            let asked: Vec<_> = authors.iter().map(|author| (*author).clone()).collect();
            let mut blocked = self.graph.blocked_by(app, viewer, &asked).await?.into_iter();
            authors.retain(|_| !blocked.next().unwrap_or(true));
        }
        for author in authors {
            let edge = self.graph.edges_to(app, std::slice::from_ref(viewer), author).await?;
            if let Some(Some(edge)) = edge.first() {
                open.insert(author.clone(), edge.until.map_or(PostId::MAX, PostId::floor_of));
            }
        }
        Ok(Gate { open })
    }
}

/// Authors whose posts below an id may be shown.
struct Gate {
    open: HashMap<UserId, PostId>,
}

/// Events of the inbox, as it is now.
struct InboxNow {
    groups: HashMap<NotificationId, Bytes>,
    marked: Bytes,
}

impl InboxNow {
    fn group(&self, id: NotificationId) -> Bytes {
        self.groups.get(&id).cloned().unwrap_or(VOID)
    }
}

fn shown(event: EventRef, posts: &HashMap<PostId, Post>, gate: Option<&Gate>) -> Bytes {
    let visible = |id| {
        let post = posts.get(&id)?;
        let open = gate.is_none_or(|gate| gate.open.get(&post.author).is_some_and(|below| post.id < *below));
        open.then_some(post)
    };
    let whole = |id| visible(id).filter(|post| !post.deleted);
    match event {
        EventRef::PostCreated { post } => whole(post).map_or(VOID, view::created),
        EventRef::PostUpdated { post, .. } => whole(post).map_or(VOID, view::updated),
        EventRef::PostDeleted { post } => posts.get(&post).map_or(VOID, view::deleted),
        EventRef::RelationChanged { kind, target, active } => {
            view::event(&Event::RelationChanged { kind: kind.as_str().to_owned(), user: target, active })
        }
        // Only a user's own channel has these.
        EventRef::Notification { .. } | EventRef::InboxMarked => VOID,
    }
}

#[cfg(test)]
mod tests {
    use fama_protocol::{Channel, NodeNumber, UnixMs};
    use fama_storage::memory::MemoryStore;
    use fama_storage::{Delivery, Relation, Stores, Visibility};

    use super::super::event::RelationKind;
    use super::super::log::LogEntry;
    use super::super::log_memory::{MemoryLiveLog, MemoryLogLimits};
    use super::*;
    use crate::testing::TestClock;

    const LIMITS: LogLimits = LogLimits { size: 10, ttl_ms: 1_000 };
    const NOW: UnixMs = UnixMs(PostId::EPOCH.0 + 1_000_000);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn id(number: u64) -> PostId {
        PostId::from_parts(PostId::EPOCH.plus(number), NodeNumber::new(1).unwrap(), 0)
    }

    async fn publish(stores: &Stores, author: &str, number: u64) {
        let post = Post {
            id: id(number),
            author: user(author),
            kind: "post".into(),
            text: Some("text".into()),
            data: None,
            reply_to: None,
            repost_of: None,
            mentions: Vec::new(),
            visibility: Visibility::Public,
            attachments: None,
            created_at: NOW,
            updated_at: NOW,
            rev: 1,
            delivery: Delivery::Push,
            deleted: false,
        };
        stores.posts.insert(&AppId::default(), &post, None, NOW).await.unwrap();
    }

    /// The `type` of each event, and the log's answer.
    async fn replay(
        resolver: &Resolver,
        channel: &ScopedChannel,
        since: u64,
        epoch: Option<Epoch>,
    ) -> Vec<String> {
        let read = resolver.read(channel, LIMITS, since, epoch).await.unwrap();
        let kind = |(_, json): &(u64, Bytes)| {
            let json: serde_json::Value = serde_json::from_slice(json).unwrap();
            json["type"].as_str().unwrap().to_owned()
        };
        read.entries.iter().map(kind).collect()
    }

    #[tokio::test]
    async fn replays_show_what_may_be_seen_now() {
        let stores = MemoryStore::new().stores();
        let (app, clock) = (AppId::default(), Arc::new(TestClock::new(1)));
        let log = Arc::new(MemoryLiveLog::new(MemoryLogLimits::default()));
        let resolver = Resolver::new(Arc::clone(&log) as _, &stores, clock, 100);
        let channel = ScopedChannel::new(&app, Channel::user(&user("me")));
        let authors = ["kept", "left", "muted", "blocking", "old"];
        for (number, author) in (1..).zip(authors) {
            stores.graph.follow(&app, &user("me"), &[user(author)], 9, NOW).await.unwrap();
            publish(&stores, author, number).await;
        }
        publish(&stores, "kept", 6).await;
        publish(&stores, "me", 7).await;
        let opened = log.open(&channel, LIMITS, 1, 0).await.unwrap();
        let created = (1..=7).map(|number| EventRef::PostCreated { post: id(number) });
        let deleted = EventRef::PostDeleted { post: id(6) };
        let changed =
            EventRef::RelationChanged { kind: RelationKind::Mute, target: user("muted"), active: true };
        for (number, event) in created.chain([deleted, changed]).enumerate() {
            let entry = LogEntry { event_id: number.to_string(), subject: None, payload: event.encode() };
            log.append(std::slice::from_ref(&channel), &entry, 0).await.unwrap();
        }
        assert!(replay(&resolver, &channel, 0, None).await[..7].iter().all(|kind| kind == "post.created"));
        stores.graph.unfollow(&app, &user("me"), &user("left"), false, NOW).await.unwrap();
        stores.graph.unfollow(&app, &user("me"), &user("old"), true, NOW).await.unwrap();
        for (one, relation, other) in [("me", Relation::Mute, "muted"), ("blocking", Relation::Block, "me")] {
            stores.graph.relate(&app, &user(one), relation, &user(other), true, 9, NOW).await.unwrap();
        }
        stores.posts.delete(&app, None, id(6), NOW).await.unwrap();
        let (yes, no) = ("post.created", "void");
        assert_eq!(
            replay(&resolver, &channel, 0, None).await,
            [yes, no, no, no, yes, no, yes, "post.deleted", "relation.changed"],
            "history kept from before stays"
        );
        assert_eq!(replay(&resolver, &channel, 8, Some(opened.epoch)).await, ["relation.changed"]);
        assert!(replay(&resolver, &channel, 8, Some(Epoch::from_random(99))).await.is_empty());
    }
}
