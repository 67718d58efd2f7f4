//! Commands: what clients send.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Deepest nesting of objects and lists that a command may have, its payload included.
pub const MAX_DEPTH: usize = 128;

/// Why a text is no command. All of them end the connection: the client is broken, not mistaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No JSON, or fields of the wrong type.
    #[error("not a command")]
    Malformed,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested too deep")]
    Depth,
    /// No known method, or more than one.
    #[error("a command has exactly one method")]
    Method,
    /// Everything but a pong and `send` is answered, so it needs an id from 1 on.
    #[error("a command has an id from 1 on")]
    Id,
}

/// One command.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Repeated in the reply. 0 for pong and `send`.
    pub id: u32,
    /// What is wanted.
    pub method: Method<'a>,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub enum Method<'a> {
    /// The empty command: the answer to a ping.
    Pong,
    /// Begins everything.
    Connect(Connect<'a>),
    /// Opens a subscription.
    Subscribe(Subscribe<'a>),
    /// Ends one.
    Unsubscribe(OfChannel<'a>),
    /// Publishes.
    Publish(Publish<'a>),
    /// Who is in a channel.
    Presence(OfChannel<'a>),
    /// How many are in a channel.
    PresenceStats(OfChannel<'a>),
    /// What a channel has kept.
    History(History<'a>),
    /// A call to the app.
    Rpc(Rpc<'a>),
    /// A message to the app, without an answer.
    Send(Send<'a>),
    /// A new token for the connection.
    Refresh(Refresh<'a>),
    /// A new token for a subscription.
    SubRefresh(SubRefresh<'a>),
    /// Reserved.
    Ping,
}

/// `connect`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Connect<'a> {
    /// The user's token.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub token: Cow<'a, str>,
    /// What the client is, for statistics.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub name: Cow<'a, str>,
    /// Its version.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub version: Cow<'a, str>,
    /// Server-side subscriptions that the client had, and where it stands in them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subs: BTreeMap<String, Recover>,
}

/// Where a client stands in a channel that it had before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Recover {
    /// Whether what was missed is wanted.
    #[serde(skip_serializing_if = "is_false")]
    pub recover: bool,
    /// The last publication's.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// The stream's, empty if unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
}

/// `subscribe`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Subscribe<'a> {
    /// Which channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The subscription's token.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub token: Cow<'a, str>,
    /// Whether what was missed is wanted.
    #[serde(skip_serializing_if = "is_false")]
    pub recover: bool,
    /// The last publication's.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// The stream's, empty if unknown.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub epoch: Cow<'a, str>,
    /// The server is to watch the position.
    #[serde(skip_serializing_if = "is_false")]
    pub positioned: bool,
    /// The client wants to recover later.
    #[serde(skip_serializing_if = "is_false")]
    pub recoverable: bool,
    /// The client wants to hear who comes and goes.
    #[serde(skip_serializing_if = "is_false")]
    pub join_leave: bool,
    /// A delta format that the client knows.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub delta: Cow<'a, str>,
    /// Bits: 1 = takes numeric channel ids, 2 = error 112 instead of `recovered: false`.
    #[serde(skip_serializing_if = "is_zero")]
    pub flag: u64,
    /// 0 = a stream; others are not served.
    #[serde(rename = "type", skip_serializing_if = "is_zero")]
    pub kind: u64,
}

/// A command that has a channel and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct OfChannel<'a> {
    /// Which channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
}

/// `publish`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Publish<'a> {
    /// Which channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// Any JSON.
    #[serde(borrow, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

/// `history`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct History<'a> {
    /// Which channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// 0 = only the position, -1 = all that the server gives.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: i32,
    /// After (or, reversed, before) which publication.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since<'a>>,
    /// Newest first.
    #[serde(skip_serializing_if = "is_false")]
    pub reverse: bool,
}

/// A position in a stream, as clients write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Since<'a> {
    /// The publication's.
    pub offset: u64,
    /// The stream's.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
}

/// `rpc`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Rpc<'a> {
    /// The app's method.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// Any JSON.
    #[serde(borrow, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

/// `send`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Send<'a> {
    /// Any JSON.
    #[serde(borrow, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

/// `refresh`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Refresh<'a> {
    /// The new token.
    #[serde(borrow)]
    pub token: Cow<'a, str>,
}

/// `sub_refresh`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SubRefresh<'a> {
    /// Which channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The new token.
    #[serde(borrow)]
    pub token: Cow<'a, str>,
    /// 0; others are not served.
    #[serde(rename = "type", skip_serializing_if = "is_zero")]
    pub kind: u64,
}

/// A command as it is on the wire.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(skip_serializing_if = "is_default")]
    pub id: u32,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Subscribe<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<OfChannel<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub presence: Option<OfChannel<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub presence_stats: Option<OfChannel<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub history: Option<History<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<Rpc<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub send: Option<Send<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub sub_refresh: Option<SubRefresh<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<Empty>,
}

/// `{}`, whatever it may have in it.
#[derive(Debug, Default, Clone, Copy, Deserialize, Serialize)]
pub(super) struct Empty {}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `null` is data like any other; only a missing field is none.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The commands in one message: they are separated by newlines, blank lines mean nothing.
pub fn split(message: &str) -> impl Iterator<Item = &str> {
    message.split('\n').map(str::trim).filter(|line| !line.is_empty())
}

/// Reads one command.
pub fn decode(text: &str) -> Result<Command<'_>, CommandError> {
    if text == "{}" {
        return Ok(Command { id: 0, method: Method::Pong });
    }
    if deeper_than(text, MAX_DEPTH) {
        return Err(CommandError::Depth);
    }
    // serde would take a list of the fields as well
    if !text.starts_with('{') {
        return Err(CommandError::Malformed);
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| CommandError::Malformed)?;
    let id = envelope.id;
    let method = envelope.into_method(text)?;
    let unanswered = matches!(method, Method::Pong | Method::Send(_));
    if id == 0 && !unanswered {
        return Err(CommandError::Id);
    }
    Ok(Command { id, method })
}

impl<'a> Envelope<'a> {
    fn into_method(self, text: &str) -> Result<Method<'a>, CommandError> {
        let id = self.id;
        let mut methods = [
            self.connect.map(Method::Connect),
            self.subscribe.map(Method::Subscribe),
            self.unsubscribe.map(Method::Unsubscribe),
            self.publish.map(Method::Publish),
            self.presence.map(Method::Presence),
            self.presence_stats.map(Method::PresenceStats),
            self.history.map(Method::History),
            self.rpc.map(Method::Rpc),
            self.send.map(Method::Send),
            self.refresh.map(Method::Refresh),
            self.sub_refresh.map(Method::SubRefresh),
            self.ping.map(|_| Method::Ping),
        ]
        .into_iter()
        .flatten();
        match (methods.next(), methods.next()) {
            (Some(method), None) => Ok(method),
            // An object without anything that we know and without an id, such as `{ }`, is a pong.
            (None, None) if id == 0 && !text.contains('"') => Ok(Method::Pong),
            _ => Err(CommandError::Method),
        }
    }
}

/// Whether brackets outside strings nest deeper than `limit`. The text need not be JSON.
fn deeper_than(text: &str, limit: usize) -> bool {
    if text.len() <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
