//! The client's side: writing commands, reading replies. For clients written in Rust, load generators and tests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::command::{Command, Empty, Envelope, Method};

/// Appends one command, without a newline.
pub fn encode(out: &mut Vec<u8>, command: Command<'_>) -> Result<(), serde_json::Error> {
    let mut envelope = Envelope { id: command.id, ..Envelope::default() };
    match command.method {
        Method::Pong => {}
        Method::Connect(it) => envelope.connect = Some(it),
        Method::Subscribe(it) => envelope.subscribe = Some(it),
        Method::Unsubscribe(it) => envelope.unsubscribe = Some(it),
        Method::Publish(it) => envelope.publish = Some(it),
        Method::Presence(it) => envelope.presence = Some(it),
        Method::PresenceStats(it) => envelope.presence_stats = Some(it),
        Method::History(it) => envelope.history = Some(it),
        Method::Rpc(it) => envelope.rpc = Some(it),
        Method::Send(it) => envelope.send = Some(it),
        Method::Refresh(it) => envelope.refresh = Some(it),
        Method::SubRefresh(it) => envelope.sub_refresh = Some(it),
        Method::Ping => envelope.ping = Some(Empty {}),
    }
    serde_json::to_writer(out, &envelope)
}

/// What a server sent.
#[derive(Debug, Clone, Deserialize)]
pub struct Reply {
    /// The command's, 0 for pushes and pings.
    #[serde(default)]
    pub id: u32,
    /// The command failed.
    pub error: Option<Error>,
    /// Not asked for.
    pub push: Option<Push>,
    /// To `connect`.
    pub connect: Option<Connected>,
    /// To `subscribe`.
    pub subscribe: Option<Subscribed>,
    /// To `unsubscribe`.
    pub unsubscribe: Option<Done>,
    /// To `publish`.
    pub publish: Option<Done>,
    /// To `presence`.
    pub presence: Option<Present>,
    /// To `presence_stats`.
    pub presence_stats: Option<Counted>,
    /// To `history`.
    pub history: Option<Kept>,
    /// To `refresh`.
    pub refresh: Option<Expiry>,
    /// To `sub_refresh`.
    pub sub_refresh: Option<Expiry>,
}

impl Reply {
    /// Whether it is a ping, to be answered with `{}` where the server asked for that.
    pub fn is_ping(&self) -> bool {
        self.id == 0 && self.error.is_none() && self.push.is_none()
    }
}

/// Done, nothing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Done {}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Error {
    /// The number.
    pub code: u32,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Whether to try again.
    #[serde(default)]
    pub temporary: bool,
}

/// Seconds until a new token is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Expiry {
    /// Whether there is an end.
    #[serde(default)]
    pub expires: bool,
    /// When.
    #[serde(default)]
    pub ttl: u32,
}

/// The answer to `connect`.
#[derive(Debug, Clone, Deserialize)]
pub struct Connected {
    /// Names the connection.
    pub client: String,
    /// Whether there is an end.
    #[serde(default)]
    pub expires: bool,
    /// Seconds until a new token is wanted.
    #[serde(default)]
    pub ttl: u32,
    /// Seconds between pings.
    #[serde(default)]
    pub ping: u32,
    /// Whether they want an answer.
    #[serde(default)]
    pub pong: bool,
    /// Server-side subscriptions.
    #[serde(default)]
    pub subs: BTreeMap<String, Subscribed>,
}

/// The answer to `subscribe`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subscribed {
    /// Keep the position and recover from it.
    pub recoverable: bool,
    /// The server watches it.
    pub positioned: bool,
    /// The stream's.
    pub epoch: String,
    /// The position.
    pub offset: u64,
    /// Whether all that was missed is here.
    pub recovered: bool,
    /// Whether that was asked for.
    pub was_recovering: bool,
    /// Whether there is an end.
    pub expires: bool,
    /// Seconds until a new token is wanted.
    pub ttl: u32,
    /// What was missed.
    pub publications: Vec<Published>,
}

/// A publication.
#[derive(Debug, Clone, Deserialize)]
pub struct Published {
    /// Any JSON.
    pub data: Box<RawValue>,
    /// 0 in channels without positions.
    #[serde(default)]
    pub offset: u64,
    /// Only with a reset.
    #[serde(default)]
    pub epoch: String,
    /// Who published.
    pub info: Option<Info>,
}

/// Who published or is there.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    /// The user.
    pub user: String,
    /// The connection.
    pub client: String,
    /// From the connection's token.
    pub conn_info: Option<Box<RawValue>>,
    /// From the subscription's token.
    pub chan_info: Option<Box<RawValue>>,
}

/// The answer to `presence`.
#[derive(Debug, Clone, Deserialize)]
pub struct Present {
    /// By connection.
    pub presence: BTreeMap<String, Info>,
}

/// The answer to `presence_stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// Connections.
    pub num_clients: u64,
    /// Users.
    pub num_users: u64,
}

/// Somebody came or left.
#[derive(Debug, Clone, Deserialize)]
pub struct Came {
    /// Who.
    pub info: Info,
}

/// The answer to `history`.
#[derive(Debug, Clone, Deserialize)]
pub struct Kept {
    /// What was asked for.
    pub publications: Vec<Published>,
    /// The stream's.
    pub epoch: String,
    /// Its newest.
    pub offset: u64,
}

/// A push.
#[derive(Debug, Clone, Deserialize)]
pub struct Push {
    /// Which channel, empty if none.
    #[serde(default)]
    pub channel: String,
    /// A publication.
    #[serde(rename = "pub")]
    pub publication: Option<Published>,
    /// Somebody came.
    pub join: Option<Came>,
    /// Somebody left.
    pub leave: Option<Came>,
    /// A server-side subscription begins.
    pub subscribe: Option<Subscribed>,
    /// A subscription ends.
    pub unsubscribe: Option<Reason>,
    /// The stream ends.
    pub disconnect: Option<Reason>,
}

/// Why something ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// The number.
    pub code: u32,
    /// For people.
    #[serde(default)]
    pub reason: String,
}

/// Reads one message of a frame.
pub fn decode(text: &str) -> Result<Reply, serde_json::Error> {
    serde_json::from_str(text)
}
