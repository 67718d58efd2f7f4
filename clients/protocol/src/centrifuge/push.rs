//! Pushes: what servers send without being asked. Each function appends one message, without a newline.

use super::codes::{DisconnectCode, UnsubscribeCode};
use super::reply::SubscribeResult;
use super::write::{Object, number, raw, string};
use crate::Epoch;

/// A publication. Its members (`"data":…` and perhaps `,"info":{…}`, without braces) are shared by all who get it and
/// are made once, by [`members`]; only the offset is added here.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// `"data":…,"info":…`
    pub members: &'a [u8],
    /// 0 in channels without positions.
    pub offset: u64,
    /// Only where it changes under a client: with a reset.
    pub epoch: Option<Epoch>,
}

/// Makes the members of a publication from its data, which must be JSON, and who published it.
pub fn members(data: &[u8], info: Option<&super::reply::ClientInfo<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 8 + if info.is_some() { 128 } else { 0 });
    out.extend_from_slice(b"\"data\":");
    raw(&mut out, data);
    if let Some(info) = info {
        out.extend_from_slice(b",\"info\":");
        info.write(&mut out);
    }
    out
}

/// Appends the object of a publication.
pub fn publication(out: &mut Vec<u8>, publication: &Publication<'_>) {
    out.push(b'{');
    out.extend_from_slice(publication.members);
    publication_tail(out, publication.offset, publication.epoch);
}

fn publication_tail(out: &mut Vec<u8>, offset: u64, epoch: Option<Epoch>) {
    if offset != 0 {
        out.extend_from_slice(b",\"offset\":");
        number(out, offset);
    }
    if let Some(epoch) = epoch {
        out.extend_from_slice(b",\"epoch\":");
        string(out, &epoch.to_string());
    }
    out.push(b'}');
}

/// Appends what comes before the members of a publication's push: everything that depends on the channel.
pub fn head(out: &mut Vec<u8>, channel: &str) {
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    string(out, channel);
    out.extend_from_slice(b",\"pub\":{");
}

/// Appends what comes after the members.
pub fn tail(out: &mut Vec<u8>, offset: u64, epoch: Option<Epoch>) {
    publication_tail(out, offset, epoch);
    out.extend_from_slice(b"}}");
}

/// Appends a publication's push: [`head`], members, [`tail`].
pub fn published(out: &mut Vec<u8>, channel: &str, publication: &Publication<'_>) {
    head(out, channel);
    out.extend_from_slice(publication.members);
    tail(out, publication.offset, publication.epoch);
}

fn of_channel(out: &mut Vec<u8>, channel: &str, what: &str, write: impl FnOnce(&mut Vec<u8>)) {
    let mut reply = Object::begin(out);
    let mut push = Object::begin(reply.key("push"));
    string(push.key("channel"), channel);
    write(push.key(what));
    push.end();
    reply.end();
}

/// Appends the end of a subscription.
pub fn unsubscribed(out: &mut Vec<u8>, channel: &str, code: UnsubscribeCode) {
    of_channel(out, channel, "unsubscribe", |out| {
        let mut inner = Object::begin(out);
        inner.number("code", code.code.into());
        inner.text("reason", code.reason);
        inner.end();
    });
}

/// Appends that somebody came into a channel, or left it: JSON of who (see [`super::reply::ClientInfo`]).
pub fn member(out: &mut Vec<u8>, channel: &str, joined: bool, info: &[u8]) {
    of_channel(out, channel, if joined { "join" } else { "leave" }, |out| {
        let mut inner = Object::begin(out);
        inner.raw("info", Some(info));
        inner.end();
    });
}

/// Appends a server-side subscription that begins while connected.
pub fn subscribed(out: &mut Vec<u8>, channel: &str, result: &SubscribeResult) {
    of_channel(out, channel, "subscribe", |out| result.write(out));
}

/// Appends the reason for the end of a stream. On a WebSocket the close frame says it instead.
pub fn disconnected(out: &mut Vec<u8>, code: DisconnectCode) {
    let mut reply = Object::begin(out);
    let mut push = Object::begin(reply.key("push"));
    let mut inner = Object::begin(push.key("disconnect"));
    inner.number("code", code.code.into());
    inner.text("reason", code.reason);
    inner.end();
    push.end();
    reply.end();
}
