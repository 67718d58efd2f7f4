//! What can be set about the connection engine, with the defaults.

use std::net::SocketAddr;
use std::sync::Arc;

use fama_fanout::live::log::LogLimits;

use super::admission::Bounds;
use super::certificates::Certificates;
use super::namespaces::Namespaces;
use crate::net::Network;

/// Settings of the connection engine.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Speaks TLS, and nothing else; `None` speaks plain HTTP.
    pub certificates: Option<Arc<Certificates>>,
    /// Threads that hold connections; 0 = as many as cores.
    pub shards: usize,
    /// Origins that browsers may come from besides our own, exact: `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// Proxies that say for whom they connect.
    pub trusted_proxies: Vec<Network>,
    /// Seconds between pings.
    pub ping_s: u32,
    /// Bounds.
    pub limits: Limits,
    /// The app's own channels.
    pub namespaces: Arc<Namespaces>,
    /// Nobody is asked for permission. For development and client suites.
    pub insecure: bool,
    /// Serves `/connection/echo`, which sends every message back. For conformance suites.
    pub echo: bool,
    /// How often the logs of online channels are kept alive and their tops compared, in milliseconds.
    pub touch_ms: u64,
    /// How the logs of `user:#` channels are kept: for devices that come back soon.
    pub user_log: LogLimits,
    /// How the logs of `author:` channels are kept.
    pub author_log: LogLimits,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            certificates: None,
            shards: 0,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            ping_s: 25,
            limits: Limits::default(),
            namespaces: Arc::new(Namespaces::default()),
            insecure: false,
            echo: false,
            touch_ms: 20_000,
            user_log: LogLimits { size: 100, ttl_ms: 120_000 },
            author_log: LogLimits { size: 300, ttl_ms: 120_000 },
        }
    }
}

/// Bounds of connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of this node, of whatever kind; more get 503.
    pub connections: usize,
    /// Connections beyond it that are still told so; more are closed without a word.
    pub told: usize,
    /// Coming in.
    pub admission: Bounds,
    /// Bytes that may wait for one socket; more end it with 3008.
    pub queue_bytes: usize,
    /// Bytes that may wait for all sockets; beyond it those for which most waits are ended with 3008.
    pub queue_bytes_total: usize,
    /// Bytes of a message from a client; more end the connection with 1009.
    pub message_bytes: usize,
    /// Frames of a message from a client; more end the connection with 1009.
    pub fragments: u32,
    /// Channels of the app's own that a connection may have at once; error 106 beyond.
    pub channels: usize,
    /// Users that a connection may watch at once; error 106 beyond.
    pub watches: usize,
    /// Frames a second that a connection may send in the long run; beyond it ends with 3013.
    pub frames_per_s: u32,
    /// Frames that it may send at once.
    pub frames_burst: u32,
    /// Bytes a second that a connection may send in the long run; beyond it ends with 3013.
    pub bytes_per_s: u32,
    /// Bytes that it may send at once.
    pub bytes_burst: u32,
    /// Bytes of commands that may wait for an earlier one; more end the connection with 3013.
    pub command_bytes: usize,
    /// Commands between two pings that may be wrong; one more ends the connection with 3509.
    pub errors: u8,
    /// Publications that a subscription is given at most when it resumes.
    pub recover: usize,
    /// The send buffer of each socket in bytes; `None` leaves it to the system.
    pub send_buffer: Option<usize>,
    /// Channels of celebrities that a connection is subscribed to.
    pub author_channels: usize,
    /// Messages that may wait for one shard from the bus; more are dropped, and found again by their positions.
    pub mailbox: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_000_000,
            told: 1_024,
            admission: Bounds::default(),
            queue_bytes: 1 << 20,
            queue_bytes_total: 256 << 20,
            message_bytes: 64 << 10,
            fragments: 1024,
            channels: 128,
            watches: 500,
            frames_per_s: 50,
            frames_burst: 500,
            bytes_per_s: 256 << 10,
            bytes_burst: 2 << 20,
            command_bytes: 128 << 10,
            errors: 10,
            recover: 300,
            send_buffer: None,
            author_channels: 200,
            mailbox: 65_536,
        }
    }
}

/// Times that are not for setting.
pub mod times {
    /// From accepting a socket to its first byte, in milliseconds.
    pub const FIRST_BYTE_MS: u64 = 10_000;
    /// From accepting a socket to the end of the request's head.
    pub const HEAD_MS: u64 = 10_000;
    /// From the upgrade to a successful `connect`.
    pub const STALE_MS: u64 = 10_000;
    /// From a ping to its pong.
    pub const PONG_MS: u64 = 8_000;
    /// From the first byte of a message to its last.
    pub const MESSAGE_MS: u64 = 20_000;
    /// How long a socket may take nothing while something waits for it.
    pub const WRITE_MS: u64 = 5_000;
    /// From our close frame to the peer's.
    pub const CLOSE_MS: u64 = 5_000;
    /// How long what a peer still sends after breaking the rules is read and thrown away, so that our close frame arrives.
    pub const LINGER_MS: u64 = 2_000;
    /// How much of it; what comes beyond is left with the system. More than its buffers hold on both sides, so that a peer that
    /// writes before it reads gets to reading.
    pub const LINGER_BYTES: usize = 16 << 20;
    /// Clients are told to refresh their token so much before its end.
    pub const REFRESH_EARLY_MS: u64 = 10_000;
    /// Connections and subscriptions end so long after their token.
    pub const EXPIRY_GRACE_MS: u64 = 5_000;
    /// Longest a step against registry, log or store may take. Clients give up after 5 s.
    pub const STEP_MS: u64 = 3_000;
}
