//! Bytes that no decent client sends, on a TCP connection to the real program: frames, handshakes, HTTP.

mod frames;
mod handshake;
mod http;

/// The endpoint under test.
pub const PATH: &str = "/connection/websocket";
