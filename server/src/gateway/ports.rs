//! What the connection engine needs from the rest of the server.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fama_fanout::Clock;
use fama_fanout::live::bus::Bus;
use fama_fanout::live::log::LiveLog;
use fama_fanout::live::registry::{NodeId, Registry};
use fama_fanout::live::{Delivery, Resolver, Viewers};
use fama_protocol::{AppId, Channel, UnixMs, UserId};

use crate::presence::Presence;

/// Who a connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant.
    pub app: AppId,
    /// The user. `None` only where the configuration allows connections without a token.
    pub user: Option<UserId>,
    /// The token's end.
    pub expires_at: Option<UnixMs>,
    /// Names the token, for revoking it.
    pub jti: Option<String>,
    /// JSON shown with what the connection publishes.
    pub info: Option<Bytes>,
}

/// What a subscription token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionGrant {
    /// The tenant.
    pub app: AppId,
    /// For whom. `None`: for connections without a user.
    pub user: Option<UserId>,
    /// For what.
    pub channel: Channel,
    /// The token's end.
    pub expires_at: Option<UnixMs>,
    /// JSON shown in the channel.
    pub info: Option<Bytes>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// There is none: error 101.
    Missing,
    /// Its time is over: error 109, get another.
    Expired,
    /// Wrong signature, claims, issuer, or revoked: the connection is closed with 3500.
    Invalid,
    /// It cannot be checked now: error 100, temporary.
    Unavailable,
}

/// Checks tokens. Called on the work runtime.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Whose token it is. The empty token is a missing one.
    async fn authenticate(&self, token: &str) -> Result<Principal, TokenRefusal>;

    /// What a subscription token allows.
    async fn subscription(&self, token: &str) -> Result<SubscriptionGrant, TokenRefusal>;
}

/// What the connection engine needs from the rest of the server.
#[derive(Clone)]
pub struct Ports {
    /// Checks tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// Live logs, to open, read and keep alive.
    pub log: Arc<dyn LiveLog>,
    /// Which nodes hold subscribers.
    pub registry: Arc<dyn Registry>,
    /// Messages from other nodes.
    pub bus: Arc<dyn Bus>,
    /// Publishing to the app's own channels.
    pub delivery: Arc<Delivery>,
    /// Log entries to events.
    pub resolver: Arc<Resolver>,
    /// Who sees what.
    pub viewers: Arc<Viewers>,
    /// Who is online, and who is told.
    pub presence: Arc<Presence>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// This start of this node.
    pub node: NodeId,
}
