//! A connection engine on the embedded store and memory backends, and clients for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use fama_fanout::Clock;
use fama_fanout::live::{
    CelebrityList, Delivery, EventRef, LiveEvent, MemoryBus, MemoryLiveLog, MemoryLogLimits, MemoryRegistry,
    NodeId, Resolver, Viewers,
};
use fama_protocol::centrifuge::client::{Reply, decode};
use fama_protocol::{AppId, Channel, PostId, UnixMs, UserId};
use fama_server::clock::SystemClock;
use fama_server::config::{ChannelRules, Namespace, Permission, PresenceVisibility, Recovery};
use fama_server::gateway::{
    Authenticator, Gateway, GatewayConfig, GatewayHandle, Namespaces, Ports, Principal, SubscriptionGrant,
    TokenRefusal,
};
use fama_server::presence::{Deps, Presence, Settings};
use fama_storage::Stores;
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Takes `name`, or `name/ms` with an end, as tokens; `chan@name` for a channel.
struct Names(Arc<dyn Clock>);

#[async_trait]
impl Authenticator for Names {
    async fn authenticate(&self, token: &str) -> Result<Principal, TokenRefusal> {
        let (name, lives) =
            token.split_once('/').map_or((token, None), |(n, ms)| (n, ms.parse::<u64>().ok()));
        match name {
            "" => return Err(TokenRefusal::Missing),
            "old" => return Err(TokenRefusal::Expired),
            "bad" => return Err(TokenRefusal::Invalid),
            _ => {}
        }
        Ok(Principal {
            app: AppId::default(),
            user: Some(UserId::new(name).map_err(|_| TokenRefusal::Invalid)?),
            expires_at: lives.map(|ms| self.0.now().plus(ms)),
            jti: Some(format!("jti-{token}")),
            info: Some(Bytes::from(format!("{{\"name\":\"{name}\"}}"))),
        })
    }

    async fn subscription(&self, token: &str) -> Result<SubscriptionGrant, TokenRefusal> {
        let (channel, user) = token.split_once('@').ok_or(TokenRefusal::Invalid)?;
        let (user, lives) = user.split_once('/').map_or((user, None), |(u, ms)| (u, ms.parse::<u64>().ok()));
        Ok(SubscriptionGrant {
            app: AppId::default(),
            user: UserId::new(user).ok(),
            channel: Channel::new(channel).map_err(|_| TokenRefusal::Invalid)?,
            expires_at: lives.map(|ms| self.0.now().plus(ms)),
            info: None,
        })
    }
}

pub struct Stars(pub Mutex<Arc<[UserId]>>);

#[async_trait]
impl CelebrityList for Stars {
    async fn celebrities(&self, _: &AppId) -> fama_fanout::Result<Arc<[UserId]>> {
        Ok(Arc::clone(&self.0.lock().unwrap()))
    }
}

pub struct World {
    pub handle: GatewayHandle,
    pub delivery: Arc<Delivery>,
    pub stores: Stores,
    pub clock: Arc<dyn Clock>,
    pub stars: Arc<Stars>,
    _folder: tempfile::TempDir,
}

fn presence(per_user: usize, stores: &Stores, clock: &Arc<dyn Clock>) -> Presence {
    let deps = Deps {
        backend: Arc::new(fama_presence::MemoryBackend::new(1_000, 1_000)),
        store: stores.presence.clone(),
        graph: stores.graph.clone(),
        clock: Arc::clone(clock),
        node: fama_presence::Node("1.1".into()),
    };
    let visibility = PresenceVisibility::Everyone;
    Presence::new(deps, Settings { per_user, grace_ms: 15_000, visibility, shared: false })
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn namespace(name: &str, change: impl FnOnce(&mut ChannelRules)) -> Namespace {
    let mut rules =
        ChannelRules { subscribe: Permission::User, publish: Permission::User, ..ChannelRules::default() };
    change(&mut rules);
    Namespace { name: name.to_owned(), rules }
}

/// See [`world`], with so many connections of each user.
pub async fn world_of(per_user: usize, change: impl FnOnce(&mut GatewayConfig)) -> World {
    build(per_user, change).await
}

/// With namespaces: `chat` keeps 10 for recovery, `raw` nothing, `gate` needs a token, `cache` keeps the latest.
pub async fn world(change: impl FnOnce(&mut GatewayConfig)) -> World {
    build(20, change).await
}

async fn build(per_user: usize, change: impl FnOnce(&mut GatewayConfig)) -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), EmbeddedOptions::default()).unwrap();
    let stores = store.stores();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log = Arc::new(MemoryLiveLog::new(MemoryLogLimits::default()));
    let registry = Arc::new(MemoryRegistry::new(2_000_000));
    let bus = Arc::new(MemoryBus::new(100_000, 256 << 20));
    let node = NodeId("1.1".into());
    bus.attach(&node);
    let delivery = Arc::new(Delivery::new(
        log.clone(),
        registry.clone(),
        bus.clone(),
        Arc::clone(&clock),
        NodeId("1.1".into()),
    ));
    let stars = Arc::new(Stars(Mutex::new([user("star"), user("nova")].into())));
    let ports = Ports {
        authenticator: Arc::new(Names(Arc::clone(&clock))),
        resolver: Arc::new(Resolver::new(log.clone(), &stores, Arc::clone(&clock), 300)),
        viewers: Arc::new(Viewers::new(stores.graph.clone(), stars.clone())),
        presence: Arc::new(presence(per_user, &stores, &clock)),
        log,
        registry,
        bus,
        delivery: Arc::clone(&delivery),
        clock: Arc::clone(&clock),
        node,
    };
    let named = [
        namespace("chat", |rules| {
            (rules.history_size, rules.history_ttl_s, rules.recovery) = (10, 60, Recovery::Stream);
            rules.allow_history_for_subscriber = true;
        }),
        namespace("raw", |_| {}),
        namespace("gate", |rules| rules.subscribe = Permission::Token),
        namespace("cache", |rules| (rules.history_size, rules.recovery) = (1, Recovery::Cache)),
    ];
    let mut config = GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        shards: 2,
        namespaces: Arc::new(Namespaces::new(&named, &ChannelRules::default()).unwrap()),
        ..GatewayConfig::default()
    };
    change(&mut config);
    let router = Router::new().route("/hello", get(async || "hi"));
    let work = tokio::runtime::Handle::current();
    let handle = Gateway::start(config, ports, router, work).await.unwrap();
    World { handle, delivery, stores, clock, stars, _folder: folder }
}

impl World {
    pub async fn client(&self) -> Client {
        let url = format!("ws://{}/connection/websocket", self.handle.local_addr());
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Client { socket, replies: VecDeque::new(), closed: None }
    }

    /// Connected as this user.
    pub async fn user(&self, token: &str) -> Client {
        let mut client = self.client().await;
        let reply = client.ask(&format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}")).await;
        assert!(reply.connect.is_some(), "{reply:?}");
        client
    }

    /// An event on a user's own channel. It refers to a relation, so that replays need no post.
    pub async fn event(&self, name: &str, users: &[&str], actor: &str) {
        let target = user(name);
        let data = format!("{{\"type\":\"test\",\"name\":\"{name}\"}}");
        let event = LiveEvent {
            event_id: name.to_owned(),
            actor: user(actor),
            reference: EventRef::RelationChanged {
                kind: fama_fanout::live::RelationKind::Follow,
                target,
                active: true,
            },
            data: data.into(),
        };
        let users: Vec<_> = users.iter().map(|name| user(name)).collect();
        self.delivery.to_users(&AppId::default(), &event, &users).await.unwrap();
    }

    pub async fn author_event(&self, author: &str, id: u64) {
        let post = PostId::from_u64(id).unwrap();
        let event = LiveEvent {
            event_id: id.to_string(),
            actor: user(author),
            reference: EventRef::PostDeleted { post },
            data: format!("{{\"type\":\"post.deleted\",\"id\":\"{id}\",\"author\":\"{author}\"}}").into(),
        };
        self.delivery.to_author_channel(&AppId::default(), &user(author), &event).await.unwrap();
    }

    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }
}

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    replies: VecDeque<Reply>,
    pub closed: Option<(u16, String)>,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message; pings are answered on the way. `None`: closed.
    pub async fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                if reply.is_ping() {
                    self.send("{}").await;
                    continue;
                }
                return Some(reply);
            }
            let wait = tokio::time::timeout(Duration::from_secs(20), self.socket.next());
            match wait.await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => {
                    self.replies.extend(text.split('\n').map(|line| decode(line).unwrap()));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.closed =
                        frame.map(|CloseFrame { code, reason }| (code.into(), reason.as_str().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// A command and the next message that answers one.
    pub async fn ask(&mut self, command: &str) -> Reply {
        self.send(command).await;
        loop {
            let reply = self.next().await.unwrap_or_else(|| panic!("closed: {:?}", self.closed));
            if reply.id > 0 {
                return reply;
            }
        }
    }

    /// The next publication: channel, data, offset.
    pub async fn publication(&mut self) -> (String, String, u64) {
        loop {
            let reply = self.next().await.unwrap_or_else(|| panic!("closed: {:?}", self.closed));
            if let Some(push) = reply.push
                && let Some(publication) = push.publication
            {
                return (push.channel, publication.data.get().to_owned(), publication.offset);
            }
        }
    }

    /// The code with which the server closes.
    pub async fn close_code(&mut self) -> u16 {
        while self.next().await.is_some() {}
        self.closed.clone().map_or(0, |(code, reason)| {
            assert!(!reason.is_empty());
            code
        })
    }

    pub async fn goodbye(mut self) {
        let _ = self.socket.close(None).await;
    }
}
