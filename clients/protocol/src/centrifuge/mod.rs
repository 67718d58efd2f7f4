//! The Centrifuge client protocol, version 2, in JSON: what goes over `/connection/websocket`. `PROTOCOL.md` describes
//! it; the files in `vectors/` are examples that every implementation must agree on.
//!
//! - [`codes`]: errors, disconnects, unsubscribes.
//! - [`command`]: what clients send, decoded without copying where the JSON allows.
//! - [`reply`] and [`push`]: what servers send, written straight into a buffer.
//! - [`client`]: the other side of both, for clients and tests.

pub mod client;
pub mod codes;
pub mod command;
pub mod push;
pub mod reply;
mod write;

#[cfg(test)]
mod tests;

pub use codes::{DisconnectCode, ErrorCode, UnsubscribeCode};
pub use command::{Command, CommandError, Method};
pub use push::Publication;
pub use reply::{ClientInfo, ConnectResult, SubscribeResult};
