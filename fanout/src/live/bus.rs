//! Node-to-node delivery: at most once, a hint. What is lost here is found by numbers, positions and the log.

use async_trait::async_trait;
use bytes::Bytes;
use fama_protocol::{AppId, Position, ScopedChannel, UserId};

use super::registry::NodeId;
use crate::Result;

/// What one node tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeMessage {
    /// One event for many users' own channels: the data once, and where it stands in each log.
    Users {
        /// The tenant.
        app: AppId,
        /// JSON of the event.
        data: Bytes,
        /// Whose act it is: viewers who hide this user get `void` instead.
        actor: UserId,
        /// User, position in the log of `user:#<id>`.
        to: Vec<(UserId, Position)>,
    },
    /// One publication of a shared channel.
    Channel {
        /// The channel.
        channel: ScopedChannel,
        /// Where it stands in the log; `None` on channels without history.
        position: Option<Position>,
        /// For `author:` channels JSON of the event; for the app's channels a [`super::Publication`].
        payload: Bytes,
    },
    /// The relations of these users changed in a way that their own channel does not tell (somebody blocked them):
    /// nodes that serve them load their relations again.
    Viewers {
        /// The tenant.
        app: AppId,
        /// The users.
        users: Vec<UserId>,
    },
    /// No news: repeats the last number, so that a lost last message is noticed.
    Beat,
}

/// A message with its number. Senders count from 1 for each incarnation and node; `Beat` repeats the last number.
/// One sender's messages arrive in the order sent, those that arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who sends.
    pub from: NodeId,
    /// Its number.
    pub number: u64,
    /// The message.
    pub message: NodeMessage,
}

/// What a node hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// A message.
    Message(Envelope),
    /// Messages were dropped because this node was slow, or the connection was lost and is back: doubt all positions.
    Lagged,
}

/// The bus.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Sends to one node; `Ok` means handed over, not delivered.
    async fn send(&self, to: &NodeId, envelope: Envelope) -> Result<()>;

    /// Waits for this node's next message. One caller at a time. `None`: the bus is closed.
    async fn receive(&self, node: &NodeId) -> Option<BusEvent>;
}
