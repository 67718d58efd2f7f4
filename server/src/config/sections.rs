//! The sections. The rustdoc of each field is its documentation.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::section::{Secret, section};
use crate::role::Role;

section! {
    /// Addresses, deadlines, and who may connect from where.
    pub struct Server {
        /// Where clients connect. Port 0 takes any free port; the address in use is printed.
        listen: SocketAddr = (Ipv4Addr::LOCALHOST, 8000).into(),
        /// A PEM file with the certificate of `listen`, the server's own first, then those up to the root. With it and
        /// `tls_key_file` Fama speaks TLS 1.2 and 1.3 there, and nothing else. Both files are read again when they change.
        tls_cert_file: Option<PathBuf> = None,
        /// A PEM file with the private key of `tls_cert_file`, without a password.
        tls_key_file: Option<PathBuf> = None,
        /// Where metrics and operators' requests are served. Keep it off the public network; anything but a loopback
        /// address needs `admin_token`.
        admin_listen: SocketAddr = (Ipv4Addr::LOCALHOST, 8001).into(),
        /// What operators send as `Authorization: Bearer …` to the admin address.
        admin_token: Option<Secret> = None,
        /// What this process does: `gateway` (sockets), `api` (HTTP), `fanout` (workers), `janitor` (sweepers). Less than
        /// all needs a cluster.
        roles: Vec<Role> = Role::ALL.to_vec(),
        /// Threads for sockets. 0 takes one for each core.
        shards: usize = 0,
        /// Origins of browsers besides our own, such as `https://app.example.com`: exact, without a path.
        allowed_origins: Vec<String> = Vec::new(),
        /// Addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Seconds between pings of a socket.
        ping_s: u64 = 25,
        /// Milliseconds that a request may take after its body has arrived; then it is answered with 504.
        request_ms: u64 = 3_000,
        /// Milliseconds that the body of a request may take to arrive; then it is answered with 408.
        body_ms: u64 = 10_000,
        /// Bytes of a request's body; more is answered with 413.
        body_bytes: usize = 65_536,
        /// Seconds from the first SIGTERM or `POST /admin/drain` to the end. `/health/ready` says 503 at once and new sockets
        /// are refused; after up to 5 s sockets are closed, evenly, so that they come back one after the other; then work
        /// is finished and the process is gone. Whatever starts and stops it has to wait longer than this.
        drain_s: u64 = 20,
        /// Serves `/connection/echo`, a WebSocket that sends every message back: for conformance suites.
        echo_endpoint: bool = false,
    }
}

section! {
    /// The embedded store: durable, in one folder, for one process.
    pub struct Storage {
        /// The folder. It is made if it is missing.
        path: PathBuf = PathBuf::from("./data"),
        /// Signs the cursors of pages: at least 32 bytes. Without it a key is made once and kept in the folder.
        cursor_secret: Option<Secret> = None,
    }
}

section! {
    /// The services of a cluster. All of them set: a cluster; none: the embedded store.
    pub struct Cluster {
        /// `host:port` of ScyllaDB or Cassandra nodes.
        scylla: Vec<String> = Vec::new(),
        /// URL of Redis.
        redis: Option<Secret> = None,
        /// URL of NATS.
        nats: Option<Secret> = None,
        /// What carries messages between nodes: `nats`, or `redis` (then `nats` is not needed).
        bus: Bus = Bus::Nats,
    }
}

section! {
    /// Who is believed. Tokens are JWTs, their algorithm is pinned by the key and never taken from the token.
    pub struct Auth {
        /// Verifies HS256 tokens: at least 32 bytes.
        hmac_secret: Option<Secret> = None,
        /// A PEM file with a public key: RSA verifies RS256, P-256 verifies ES256, Ed25519 verifies EdDSA.
        public_key_file: Option<PathBuf> = None,
        /// A JSON Web Key Set, fetched at start and again in the background: https, or http on a loopback address.
        jwks_url: Option<String> = None,
        /// Seconds between fetches of the key set. A token with an unknown key id fetches it at most once a minute.
        jwks_refresh_s: u64 = 300,
        /// Seconds for which a key that left the set is still believed.
        jwks_overlap_s: u64 = 600,
        /// What `iss` must be. Unset: not checked.
        issuer: Option<String> = None,
        /// What `aud` must be or contain. Unset: not checked.
        audience: Option<String> = None,
        /// Keys of services, as `name:sha256hex` of the key, or `app/name:sha256hex` for another app than `default`.
        api_keys: Vec<String> = Vec::new(),
        /// For development and the suites of client libraries only: no token is needed, and permissions of channels are not
        /// asked. Tokens that are sent are still checked.
        insecure: bool = false,
    }
}

section! {
    /// How posts reach feeds.
    pub struct Fanout {
        /// Above so many followers an author is a celebrity: posts are no longer copied into feeds, readers merge them.
        celebrity_up: u64 = 10_000,
        /// Below so many followers a celebrity is an ordinary author again.
        celebrity_down: u64 = 6_000,
        /// Seconds that a celebrity stays one at least.
        dwell_s: u64 = 86_400,
        /// Days after its last use for which a feed is kept up to date; a later reader's feed is built again.
        active_days: u64 = 7,
        /// Jobs at once of authors with few followers.
        workers_small: usize = 16,
        /// Jobs at once of authors with many.
        workers_large: usize = 8,
    }
}

section! {
    /// Feeds.
    pub struct Feed {
        /// Posts kept ready in each feed. Older ones are read from the authors' own rows.
        hot_cap: usize = 300,
        /// Feeds kept in memory; one takes up to 12 bytes for each post in it. At the bound, readers pull.
        cached_feeds: usize = 200_000,
        /// Days for which posts show up in feeds.
        retention_days: u64 = 365,
    }
}

section! {
    /// The follow graph.
    pub struct Graph {
        /// Authors that one user may follow.
        follow_cap: u64 = 5_000,
        /// Users that one user may block, and as many that one may mute.
        relation_cap: u64 = 5_000,
    }
}

section! {
    /// What is refused to keep the server well. Rates are token buckets that hold one minute's worth; 0 is off.
    pub struct Limits {
        /// Requests a minute of one user.
        user_per_minute: u32 = 100,
        /// Requests a minute from one address (IPv6: from one /64), services apart.
        address_per_minute: u32 = 1_000,
        /// Requests a minute of one service.
        service_per_minute: u32 = 0,
        /// Rates a minute of one user on one route instead of `user_per_minute`, such as `POST /v1/posts = 30`.
        routes: Vec<String> = Vec::new(),
        /// Users, addresses and services whose rates are kept in memory at once; beyond it those nearest to a full bucket are
        /// forgotten.
        tracked: usize = 200_000,
        /// Sockets at once. More are answered with 503 before the upgrade. Where the process may have fewer files than that
        /// and 256 more, it is less, and said at the start.
        connections: usize = 1_000_000,
        /// Sockets at once of one user. One more closes the oldest.
        connections_per_user: usize = 20,
        /// Connections at once from one address (IPv6: from one /64); of a trusted proxy, from one of its clients. More
        /// are answered with 429 before the upgrade. 0 is off.
        connections_per_address: usize = 2_000,
        /// Sockets at once that have not signed in yet. More are answered with 503 before the upgrade. 0 is off.
        unauthenticated: usize = 10_000,
        /// New sockets a second, and as many at once. More are answered with 503 and come again. 0 is off.
        handshakes_per_s: u32 = 2_000,
        /// New sockets a minute from one address, and as many at once. More are answered with 429. 0 is off.
        handshakes_per_address_per_minute: u32 = 1_000,
        /// Requests worked on at once. More wait for their turn; one whose turn would not come within `server.request_ms` is
        /// answered with 503 at once.
        requests: usize = 512,
        /// Bytes of memory above which new sockets are answered with 503, `/health/ready` too, and caches give theirs back.
        /// 0: four fifths of what the machine or the control group has.
        memory_bytes: u64 = 0,
        /// Bytes that may wait for a slow socket before it is closed; it can resume.
        queue_bytes: usize = 1_048_576,
        /// Bytes that may wait for all sockets together. Beyond it those for which most waits are closed; they can resume.
        queue_bytes_total: usize = 268_435_456,
        /// Bytes that the system may hold for each socket besides (its send buffer). 0 leaves it to the system, which gives
        /// some megabytes to each that reads slowly.
        send_buffer_bytes: usize = 0,
    }
}

section! {
    /// Who is online.
    pub struct Presence {
        /// Seconds after a socket just ended until its user is offline.
        grace_s: u64 = 15,
        /// Who may ask: `everyone` signed in, `followers`, `mutual`, `nobody`.
        visibility: PresenceVisibility = PresenceVisibility::Everyone,
    }
}

section! {
    /// The demonstration.
    pub struct Demo {
        /// Serves the page at `/`.
        page: bool = false,
    }
}

section! {
    /// Logs, on standard error.
    pub struct Log {
        /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or by module as in `info,fama_server::gateway=debug`.
        level: String = "info,fjall=warn,lsm_tree=warn".into(),
        /// `json`: an object a line; `text`: for people.
        format: LogFormat = LogFormat::Json,
    }
}

/// What carries messages between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// NATS.
    Nats,
    /// Redis pub/sub.
    Redis,
}

/// Who may ask whether a user is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceVisibility {
    /// Everyone signed in.
    Everyone,
    /// The user's followers.
    Followers,
    /// Those who follow each other.
    Mutual,
    /// Nobody.
    Nobody,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// An object a line.
    Json,
    /// For people.
    Text,
}
