//! The connection engine: sockets, heads of requests, WebSocket frames, the client protocol, and delivery to members.
//!
//! Shards are threads, each with its own listener, connections, channels and timers. What a connection does is decided by
//! [`connection`], which has no socket; who is in a channel and where it stands by `fanout::live::ChannelTable`. Anything
//! that may wait or take long happens on the work runtime and comes back as a message.

mod admission;
pub mod bucket;
pub mod certificates;
pub mod codec;
pub mod config;
pub mod connection;
pub mod frames;
pub mod history;
mod http;
pub mod http_head;
mod inbox;
mod index;
mod listen;
pub mod namespaces;
mod node;
mod outbox;
pub mod ports;
mod shard;
mod slots;
mod start;
mod stats;
pub mod timers;
mod tls;
mod utf8;
mod work;

pub use admission::Bounds;
pub use config::{GatewayConfig, Limits};
pub use inbox::ConnKey;
pub use namespaces::{NamespaceError, Namespaces};
pub use ports::{Authenticator, Ports, Principal, SubscriptionGrant, TokenRefusal};
pub use start::{Gateway, GatewayHandle};
