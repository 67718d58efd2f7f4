//! What nodes know of each other's users and channel members. A projection under the nodes' leases: it may be lost whole,
//! and is told again by those who hold the connections.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fama_protocol::{AppId, ScopedChannel, UserId};

/// One start of one node: `<node number>.<incarnation>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub Arc<str>);

/// A user of an app.
pub type UserKey = (AppId, UserId);

/// Why a backend did not do something. All of it may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("presence: {0}")]
pub struct BackendError(pub String);

/// Of backends.
pub type Result<T> = std::result::Result<T, BackendError>;

/// Something that nodes may have to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A user may look different now: connected, gone, or another choice. For nodes that watch the user.
    User(UserKey),
    /// Follows or blocks between two users changed. For nodes that watch one of them.
    Relation(AppId, UserId, UserId),
    /// Somebody came into a channel, or left it. For nodes with members of it.
    Member {
        /// The channel.
        channel: ScopedChannel,
        /// Came.
        joined: bool,
        /// JSON: who.
        info: Bytes,
    },
}

/// What a node hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A hint.
    Hint(Hint),
    /// Hints were lost: everything watched has to be looked at.
    Lost,
}

/// A connection that is in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The connection's id, as clients know it.
    pub client: u128,
    /// Whose it is; empty if nobody's.
    pub user: Arc<str>,
    /// JSON: who, as others are shown.
    pub info: Bytes,
}

/// A connection came into a channel or left it. Absolute: saying it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The channel.
    pub channel: ScopedChannel,
    /// The connection. Of one that left only the id counts: who it was is known here.
    pub member: Member,
    /// It is there now; else it is not.
    pub joined: bool,
    /// Nodes with members are told: who came, or who left as it had come.
    pub tell: bool,
}

/// How many are in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberCounts {
    /// Connections.
    pub clients: usize,
    /// Users.
    pub users: usize,
}

/// See the module. What a node said counts while it holds its lease. Hints may be lost, but then the node hears so.
#[async_trait]
pub trait Backend: Send + Sync {
    /// How many devices of at most 1,000 users this node holds now; 0 ends it. Nodes that watch a user who came or went
    /// are told.
    async fn report(&self, node: &Node, users: &[(UserKey, u32)]) -> Result<()>;

    /// How many devices other nodes hold of at most 1,000 users.
    async fn elsewhere(&self, node: &Node, users: &[UserKey], now_ms: u64) -> Result<Vec<u32>>;

    /// The node wants to hear of a user, or no more. Calls for one node and user are the caller's to serialise.
    async fn watch(&self, node: &Node, user: &UserKey, on: bool) -> Result<()>;

    /// Tells the nodes concerned.
    async fn tell(&self, hint: Hint) -> Result<()>;

    /// What changed in channels, in this order, at most 1,000. Who comes twice or goes without being there is not told.
    /// How many came and were not taken in, because a bound of the backend is reached: they are not listed, counted or
    /// told of, neither when they leave.
    async fn change_members(&self, node: &Node, changes: &[MemberChange]) -> Result<usize>;

    /// Who is in a channel, in no order; `None`: more than `limit`.
    async fn members(
        &self,
        channel: &ScopedChannel,
        limit: usize,
        now_ms: u64,
    ) -> Result<Option<Vec<Member>>>;

    /// How many are in a channel.
    async fn count(&self, channel: &ScopedChannel, now_ms: u64) -> Result<MemberCounts>;

    /// Renews the node's lease for `ttl_ms`, only if it is still there. `false`: it ended, or everything was lost; it is
    /// there again now, and the node must say again what it holds and watches.
    async fn renew(&self, node: &Node, ttl_ms: u64, now_ms: u64) -> Result<bool>;

    /// Takes out what nodes without a lease said, at most 1,000 users and as many members; nodes are told as if they had
    /// gone. The users who are nowhere else: each is given to one caller only. To be called every few seconds.
    async fn sweep(&self, now_ms: u64) -> Result<Vec<UserKey>>;

    /// The next thing that the node hears; `None`: the backend was closed.
    async fn hear(&self, node: &Node) -> Option<Heard>;
}
