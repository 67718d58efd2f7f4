//! What the connection engine stands on: sign-in, celebrities, and its settings out of the configuration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use axum::Router;
use fama_fanout::live::{self, Delivery, NodeId, Resolver, Viewers};
use fama_fanout::modes::{CelebrityList, Modes};
use fama_fanout::{Clock, Feeds, Reader, Urgency};
use fama_protocol::{AppId, Channel, PostId, UserId};
use fama_storage::PostStore;

use crate::auth::{Authority, Refusal, Verified};
use crate::backends::Backends;
use crate::capacity::Connections;
use crate::config::Config;
use crate::gateway::certificates::Certificates;
use crate::gateway::config::{GatewayConfig, Limits};
use crate::gateway::namespaces::Namespaces;
use crate::gateway::ports::{Authenticator, Ports, Principal, SubscriptionGrant, TokenRefusal};
use crate::gateway::{Bounds, Gateway, GatewayHandle};
use crate::presence::Presence;

/// Entries of a log that one replay turns into events.
const REPLAY: usize = 300;

/// What [`start`] needs.
pub struct Parts<'a> {
    /// Logs, registry, bus, posts, graph.
    pub backends: &'a Backends,
    /// Celebrities.
    pub feeds: &'a Feeds,
    /// Publishing to channels.
    pub delivery: Arc<Delivery>,
    /// Who is online.
    pub presence: Arc<Presence>,
    /// Sign-in.
    pub authority: Arc<Authority>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This start of this node.
    pub node: NodeId,
}

/// Starts the connection engine; requests that are not for a socket go to `router`, on the runtime of the caller.
pub async fn start(
    config: &Config,
    connections: Connections,
    parts: Parts<'_>,
    router: Router,
) -> anyhow::Result<GatewayHandle> {
    let Parts { backends, feeds, delivery, presence, authority, clock, node } = parts;
    let stores = &backends.stores;
    let list = Celebrities {
        modes: Arc::clone(&feeds.modes),
        posts: Arc::clone(&stores.posts),
        latest: Mutex::default(),
    };
    let resolver = Resolver::new(Arc::clone(&backends.log), stores, Arc::clone(&clock), REPLAY);
    let ports = Ports {
        authenticator: Arc::new(SignIn {
            authority,
            reader: feeds.reader.clone(),
            insecure: config.auth.insecure,
        }),
        log: Arc::clone(&backends.log),
        registry: Arc::clone(&backends.registry),
        bus: Arc::clone(&backends.bus),
        delivery,
        resolver: Arc::new(resolver),
        viewers: Arc::new(Viewers::new(Arc::clone(&stores.graph), Arc::new(list))),
        presence,
        clock,
        node,
    };
    let address = config.server.listen;
    let mut settings = settings(config)?;
    (settings.limits.connections, settings.limits.told) = (connections.most, connections.told);
    let started = Gateway::start(settings, ports, router, tokio::runtime::Handle::current()).await;
    started.with_context(|| unusable(address))
}

fn unusable(address: std::net::SocketAddr) -> String {
    match address.port() {
        0 => format!("`server.listen`: can't listen on {address}"),
        port => format!(
            "`server.listen`: can't listen on {address}; is another server on port {port}? `server.listen` chooses another one"
        ),
    }
}

fn settings(config: &Config) -> anyhow::Result<GatewayConfig> {
    let namespaces = namespaces(config)?;
    let certificates = match (&config.server.tls_cert_file, &config.server.tls_key_file) {
        (Some(cert), Some(key)) => Some(Arc::new(Certificates::load(cert, key).map_err(|why| anyhow!(why))?)),
        _ => None,
    };
    Ok(GatewayConfig {
        certificates,
        listen: config.server.listen,
        shards: config.server.shards,
        allowed_origins: config.server.allowed_origins.clone(),
        trusted_proxies: config.server.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect(),
        ping_s: u32::try_from(config.server.ping_s).map_err(|_| anyhow!("`server.ping_s` is too large"))?,
        limits: Limits {
            connections: config.limits.connections,
            admission: Bounds {
                per_address: config.limits.connections_per_address,
                unauthenticated: config.limits.unauthenticated,
                handshakes_per_s: config.limits.handshakes_per_s,
                handshakes_per_address: config.limits.handshakes_per_address_per_minute,
            },
            queue_bytes: config.limits.queue_bytes,
            queue_bytes_total: config.limits.queue_bytes_total,
            send_buffer: (config.limits.send_buffer_bytes > 0).then_some(config.limits.send_buffer_bytes),
            ..Limits::default()
        },
        namespaces: Arc::new(namespaces),
        insecure: config.auth.insecure,
        echo: config.server.echo_endpoint,
        ..GatewayConfig::default()
    })
}

/// The rules of the app's own channels.
pub fn namespaces(config: &Config) -> anyhow::Result<Namespaces> {
    Namespaces::new(&config.namespaces, &config.channels).map_err(|why| anyhow!(why))
}

/// Checks what only the engine knows about a configuration.
pub fn check(config: &Config) -> anyhow::Result<()> {
    settings(config).map(|_| ())
}

struct SignIn {
    authority: Arc<Authority>,
    reader: Reader,
    insecure: bool,
}

impl SignIn {
    async fn verify(&self, token: &str) -> Result<Verified, TokenRefusal> {
        self.authority.token(token).await.map_err(|refusal| match refusal {
            Refusal::Missing => TokenRefusal::Missing,
            Refusal::Expired => TokenRefusal::Expired,
            Refusal::KeysUnavailable => TokenRefusal::Unavailable,
            _ => TokenRefusal::Invalid,
        })
    }
}

#[async_trait]
impl Authenticator for SignIn {
    async fn authenticate(&self, token: &str) -> Result<Principal, TokenRefusal> {
        if token.is_empty() && self.insecure {
            return Ok(Principal {
                app: AppId::default(),
                user: None,
                expires_at: None,
                jti: None,
                info: None,
            });
        }
        let verified = self.verify(token).await?;
        if verified.channel.is_some() {
            return Err(TokenRefusal::Invalid);
        }
        // Whoever connects will read soon. Without it the first read asks for the feed.
        if let Err(error) = self.reader.ensure_feed(&verified.app, &verified.user, Urgency::Online).await {
            tracing::debug!(%error, "whether the user has a feed is not known");
        }
        Ok(Principal {
            app: verified.app.clone(),
            user: Some(verified.user.clone()),
            expires_at: Some(verified.expires_at),
            jti: verified.jti.clone(),
            info: verified.info.clone(),
        })
    }

    async fn subscription(&self, token: &str) -> Result<SubscriptionGrant, TokenRefusal> {
        let verified = self.verify(token).await?;
        let channel = verified.channel.as_deref().and_then(|name| Channel::new(name).ok());
        Ok(SubscriptionGrant {
            app: verified.app.clone(),
            user: Some(verified.user.clone()),
            channel: channel.ok_or(TokenRefusal::Invalid)?,
            expires_at: Some(verified.expires_at),
            info: verified.info.clone(),
        })
    }
}

/// An app's list as last read, and the same in the order of latest posts.
type Latest = (Weak<CelebrityList>, Arc<[UserId]>);

/// Celebrities, those that posted latest first. Sorted once for each list that is read, not for each connection.
struct Celebrities {
    modes: Arc<Modes>,
    posts: Arc<dyn PostStore>,
    latest: Mutex<HashMap<AppId, Latest>>,
}

impl Celebrities {
    fn sorted(&self, app: &AppId, list: &Arc<CelebrityList>) -> Option<Arc<[UserId]>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, authors) = latest.get(app)?;
        std::ptr::eq(of.as_ptr(), Arc::as_ptr(list)).then(|| Arc::clone(authors))
    }
}

#[async_trait]
impl live::CelebrityList for Celebrities {
    async fn celebrities(&self, app: &AppId) -> fama_fanout::Result<Arc<[UserId]>> {
        let list = self.modes.celebrities(app).await?;
        if let Some(authors) = self.sorted(app, &list) {
            return Ok(authors);
        }
        let mut authors: Vec<(PostId, UserId)> = Vec::with_capacity(list.authors.len());
        for author in list.authors.keys() {
            let newest = self.posts.newest(app, author).await?.unwrap_or(PostId::ZERO);
            authors.push((newest, author.clone()));
        }
        authors.sort_unstable_by(|a, b| b.cmp(a));
        let authors: Arc<[UserId]> = authors.into_iter().map(|(_, author)| author).collect();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.insert(app.clone(), (Arc::downgrade(&list), Arc::clone(&authors)));
        Ok(authors)
    }
}
