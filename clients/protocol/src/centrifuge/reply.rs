//! Replies: the answers to commands. Each function appends one message, without a newline.

use bytes::Bytes;

use super::codes::ErrorCode;
use super::push::{self, Publication};
use super::write::{Object, number, raw, string};
use crate::{Epoch, Position};

/// A ping: the reply to nothing.
pub const PING: &[u8] = b"{}";

/// Who published or is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo<'a> {
    /// The user, empty if unknown.
    pub user: &'a str,
    /// The connection.
    pub client: &'a str,
    /// JSON from the connection's token.
    pub conn_info: Option<&'a [u8]>,
    /// JSON from the subscription's token.
    pub chan_info: Option<&'a [u8]>,
}

impl ClientInfo<'_> {
    /// Appends the object.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut info = Object::begin(out);
        string(info.key("user"), self.user);
        string(info.key("client"), self.client);
        info.raw("conn_info", self.conn_info);
        info.raw("chan_info", self.chan_info);
        info.end();
    }
}

/// How long something is valid. Clients refresh when it is over.
pub type Ttl = Option<u32>;

/// The answer to `connect`.
#[derive(Debug, Clone, Default)]
pub struct ConnectResult<'a> {
    /// Names the connection.
    pub client: &'a str,
    /// The server's.
    pub version: &'a str,
    /// Seconds until the client should send another token; `None` if it never expires.
    pub ttl: Ttl,
    /// Seconds between the server's pings, 0 for none.
    pub ping: u32,
    /// Whether pings want an answer.
    pub pong: bool,
    /// Needed to send on transports that only receive.
    pub session: &'a str,
    /// The node of the session.
    pub node: &'a str,
    /// JSON of the app's.
    pub data: Option<&'a [u8]>,
    /// Server-side subscriptions.
    pub subs: &'a [(&'a str, SubscribeResult)],
}

/// The answer to `subscribe`, and each of the server-side subscriptions in the answer to `connect`.
#[derive(Debug, Clone, Default)]
pub struct SubscribeResult {
    /// Seconds until the client should send another token; `None` if it never expires.
    pub ttl: Ttl,
    /// The client keeps the position and recovers from it.
    pub recoverable: bool,
    /// The server watches the position.
    pub positioned: bool,
    /// Where the client stands after the publications given here. `None`: the channel has no positions.
    pub position: Option<Position>,
    /// `None`: nothing was to be recovered.
    pub recovered: Option<bool>,
    /// What was missed, oldest first; offset and the publication's members (see [`push::publication`]).
    pub publications: Vec<(u64, Bytes)>,
    /// Where the client stood. After recovery the reply repeats it, and the client advances as it replays.
    pub since: u64,
}

/// Appends an error.
pub fn error(out: &mut Vec<u8>, id: u32, error: ErrorCode) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("error"));
    inner.number("code", error.code.into());
    inner.text("message", error.message);
    inner.flag("temporary", error.temporary);
    inner.end();
    reply.end();
}

/// Appends an answer that says only that it is done: `unsubscribe`, `publish`.
pub fn done(out: &mut Vec<u8>, id: u32, method: &str) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    reply.key(method).extend_from_slice(b"{}");
    reply.end();
}

/// Appends the answer to `connect`.
pub fn connect(out: &mut Vec<u8>, id: u32, result: &ConnectResult<'_>) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("connect"));
    string(inner.key("client"), result.client);
    inner.text("version", result.version);
    expiry(&mut inner, result.ttl);
    inner.raw("data", result.data);
    inner.number("ping", result.ping.into());
    inner.flag("pong", result.pong);
    inner.text("session", result.session);
    inner.text("node", result.node);
    if !result.subs.is_empty() {
        let mut subs = Object::begin(inner.key("subs"));
        for (channel, sub) in result.subs {
            sub.write(subs.named(channel));
        }
        subs.end();
    }
    inner.end();
    reply.end();
}

fn expiry(object: &mut Object<'_>, ttl: Ttl) {
    if let Some(ttl) = ttl {
        object.flag("expires", true);
        object.number("ttl", ttl.into());
    }
}

impl SubscribeResult {
    /// Appends the object.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut result = Object::begin(out);
        expiry(&mut result, self.ttl);
        result.flag("recoverable", self.recoverable);
        result.flag("positioned", self.positioned);
        if let Some(position) = self.position.filter(|_| self.recoverable || self.positioned) {
            string(result.key("epoch"), &position.epoch.to_string());
            let offset = if self.recovered == Some(true) { self.since } else { position.offset };
            result.number("offset", offset);
        }
        if let Some(recovered) = self.recovered {
            result.flag("was_recovering", true);
            result.flag("recovered", recovered);
        }
        if !self.publications.is_empty() {
            publications(result.key("publications"), &self.publications);
        }
        result.end();
    }
}

/// Appends a list of publications.
fn publications(out: &mut Vec<u8>, publications: &[(u64, Bytes)]) {
    out.push(b'[');
    for (at, (offset, members)) in publications.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push::publication(out, &Publication { members, offset: *offset, epoch: None });
    }
    out.push(b']');
}

/// Appends the answer to `subscribe`.
pub fn subscribe(out: &mut Vec<u8>, id: u32, result: &SubscribeResult) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    result.write(reply.key("subscribe"));
    reply.end();
}

/// Appends the answer to `refresh`.
pub fn refresh(out: &mut Vec<u8>, id: u32, client: &str, version: &str, ttl: Ttl) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("refresh"));
    inner.text("client", client);
    inner.text("version", version);
    expiry(&mut inner, ttl);
    inner.end();
    reply.end();
}

/// Appends the answer to `sub_refresh`.
pub fn sub_refresh(out: &mut Vec<u8>, id: u32, ttl: Ttl) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("sub_refresh"));
    expiry(&mut inner, ttl);
    inner.end();
    reply.end();
}

/// Appends the answer to `history`.
pub fn history(out: &mut Vec<u8>, id: u32, position: Position, entries: &[(u64, Bytes)]) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("history"));
    publications(inner.key("publications"), entries);
    string(inner.key("epoch"), &position.epoch.to_string());
    number(inner.key("offset"), position.offset);
    inner.end();
    reply.end();
}

/// Appends the answer to `presence`: connections, and who each is (see [`ClientInfo`]).
pub fn presence<'m>(out: &mut Vec<u8>, id: u32, members: impl Iterator<Item = (String, &'m [u8])>) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("presence"));
    let mut all = Object::begin(inner.key("presence"));
    for (client, info) in members {
        raw(all.named(&client), info);
    }
    all.end();
    inner.end();
    reply.end();
}

/// Appends the answer to `presence_stats`.
pub fn presence_stats(out: &mut Vec<u8>, id: u32, clients: u64, users: u64) {
    let mut reply = Object::begin(out);
    reply.number("id", id.into());
    let mut inner = Object::begin(reply.key("presence_stats"));
    number(inner.key("num_clients"), clients);
    number(inner.key("num_users"), users);
    inner.end();
    reply.end();
}

/// The epoch that a client sent. `Some(None)`: it is none of ours, so nothing can be recovered; `None`: it sent none.
pub fn epoch_of(text: &str) -> Option<Option<Epoch>> {
    (!text.is_empty()).then(|| text.parse().ok())
}
