//! The vectors, and what holds for any input.

use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;

use super::codes::{DisconnectCode, ErrorCode, UnsubscribeCode};
use super::command::{self, Command, CommandError, Method};
use super::push::{self, Publication};
use super::reply::{self, ClientInfo, ConnectResult, SubscribeResult};
use super::{client, write};
use crate::{Epoch, Position};

#[derive(Deserialize)]
struct CommandVector {
    name: String,
    wire: String,
    #[serde(default)]
    id: u32,
    method: Option<String>,
    error: Option<String>,
}

fn name_of(method: &Method<'_>) -> &'static str {
    match method {
        Method::Pong => "pong",
        Method::Connect(_) => "connect",
        Method::Subscribe(_) => "subscribe",
        Method::Unsubscribe(_) => "unsubscribe",
        Method::Publish(_) => "publish",
        Method::Presence(_) => "presence",
        Method::PresenceStats(_) => "presence_stats",
        Method::History(_) => "history",
        Method::Rpc(_) => "rpc",
        Method::Send(_) => "send",
        Method::Refresh(_) => "refresh",
        Method::SubRefresh(_) => "sub_refresh",
        Method::Ping => "ping",
    }
}

#[test]
fn command_vectors() {
    let vectors: Vec<CommandVector> =
        serde_json::from_str(include_str!("../../vectors/commands.json")).unwrap();
    assert!(vectors.len() > 20);
    for vector in vectors {
        match (command::decode(&vector.wire), vector.error.as_deref()) {
            (Ok(command), None) => {
                assert_eq!(command.id, vector.id, "{}", vector.name);
                assert_eq!(Some(name_of(&command.method)), vector.method.as_deref(), "{}", vector.name);
            }
            (Err(CommandError::Malformed), Some("malformed"))
            | (Err(CommandError::Method), Some("method"))
            | (Err(CommandError::Id), Some("id")) => {}
            (got, want) => panic!("{}: {got:?}, not {want:?}", vector.name),
        }
    }
}

fn epoch(number: u64) -> Epoch {
    Epoch::from_random(number)
}

fn at(epoch_number: u64, offset: u64) -> Position {
    Position { epoch: epoch(epoch_number), offset }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn members(data: &str) -> Bytes {
    push::members(data.as_bytes(), None).into()
}

/// What this implementation writes for each vector, by name.
fn written(name: &str) -> String {
    let stream = |position| SubscribeResult {
        recoverable: true,
        positioned: true,
        position: Some(position),
        ..Default::default()
    };
    let expiring = ConnectResult {
        client: "a2f1",
        version: "0.1.0",
        ttl: Some(590),
        ping: 25,
        pong: true,
        ..Default::default()
    };
    let recovered = SubscribeResult {
        recovered: Some(true),
        since: 7,
        publications: vec![(8, members("{\"type\":\"void\"}"))],
        ..stream(at(0xe1, 8))
    };
    let info =
        ClientInfo { user: "42", client: "c1", conn_info: Some(b"{\"a\":1}"), ..ClientInfo::default() };
    let published = |channel: &str, data: &str, offset, epoch| {
        text(|o| {
            push::published(o, channel, &Publication { members: &members(data), offset, epoch });
        })
    };
    match name {
        "ping" => String::from_utf8(reply::PING.to_vec()).unwrap(),
        "connect, expiring" => text(|o| reply::connect(o, 1, &expiring)),
        "connect with server-side subscriptions" => {
            let subs = [("user:#42", recovered)];
            let result = ConnectResult { version: "", ttl: None, subs: &subs, ..expiring };
            text(|o| reply::connect(o, 1, &result))
        }
        "subscribe to a recoverable channel" => text(|o| reply::subscribe(o, 2, &stream(at(0xe1, 17)))),
        "subscribe to an empty stream" => text(|o| reply::subscribe(o, 2, &stream(at(0xe1, 0)))),
        "subscribe, not recovered" => {
            let result = SubscribeResult { recovered: Some(false), since: 9, ..stream(at(0xe2, 3)) };
            text(|o| reply::subscribe(o, 2, &result))
        }
        "subscribe to a channel without positions" => {
            text(|o| reply::subscribe(o, 2, &SubscribeResult::default()))
        }
        "unsubscribe" => text(|o| reply::done(o, 3, "unsubscribe")),
        "publish" => text(|o| reply::done(o, 4, "publish")),
        "refresh" => text(|o| reply::refresh(o, 5, "a2f1", "0.1.0", Some(590))),
        "sub_refresh" => text(|o| reply::sub_refresh(o, 6, Some(50))),
        "history" => {
            let entries = [(1, members("1")), (2, push::members(b"2", Some(&info)).into())];
            text(|o| reply::history(o, 7, at(0xe1, 2), &entries))
        }
        "history of an empty stream" => text(|o| reply::history(o, 7, at(0xe1, 0), &[])),
        "an error" => text(|o| reply::error(o, 8, ErrorCode::PERMISSION_DENIED)),
        "a temporary error" => text(|o| reply::error(o, 8, ErrorCode::INTERNAL)),
        "a publication" => published("user:#42", "{\"type\":\n\"void\"}", 18, None),
        "a publication without a position" => published("chat:\"x\"", "1", 0, None),
        "a reset" => {
            let data = "{\"type\":\"feed.reset\",\"reason\":\"log lost\"}";
            published("user:#42", data, 2, Some(epoch(0xe2)))
        }
        "a server-side subscription begins" => {
            text(|o| push::subscribed(o, "author:7", &stream(at(0xe1, 5))))
        }
        "a subscription ends" => text(|o| push::unsubscribed(o, "c", UnsubscribeCode::INSUFFICIENT_STATE)),
        "a stream ends" => text(|o| push::disconnected(o, DisconnectCode::SHUTDOWN)),
        other => written_of_members(other, &text(|o| info.write(o))),
    }
}

/// The same for what says who is in a channel.
fn written_of_members(name: &str, info: &str) -> String {
    match name {
        "presence" => {
            let members = [("c1".to_owned(), info.as_bytes())];
            text(|o| reply::presence(o, 9, members.into_iter()))
        }
        "presence of an empty channel" => text(|o| reply::presence(o, 9, std::iter::empty())),
        "presence_stats" => text(|o| reply::presence_stats(o, 10, 3, 2)),
        "somebody comes" => text(|o| push::member(o, "chat:x", true, info.as_bytes())),
        "somebody leaves" => text(|o| push::member(o, "chat:x", false, info.as_bytes())),
        other => panic!("no such vector: {other}"),
    }
}

#[test]
fn reply_vectors() {
    #[derive(Deserialize)]
    struct Vector {
        name: String,
        wire: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../vectors/replies.json")).unwrap();
    assert!(vectors.len() > 20);
    for vector in vectors {
        let ours: serde_json::Value = serde_json::from_str(&written(&vector.name)).unwrap();
        let mut theirs: serde_json::Value = serde_json::from_str(&vector.wire).unwrap();
        // What is false or zero may be left out.
        strip(&mut theirs);
        let mut stripped = ours;
        strip(&mut stripped);
        assert_eq!(stripped, theirs, "{}", vector.name);
        client::decode(&vector.wire).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
    }
}

fn strip(value: &mut serde_json::Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, inner| {
            strip(inner);
            *inner != serde_json::json!(false) && *inner != serde_json::json!(0)
        });
    }
}

#[test]
fn reasons_never_confuse_clients() {
    for code in DisconnectCode::ALL {
        assert!(!code.reason.is_empty() && code.reason.len() < 123);
        assert!(serde_json::from_str::<serde_json::Value>(code.reason).is_err(), "{code:?}");
        assert_eq!(code.is_terminal(), code.code >= 3500, "{code:?}");
    }
    assert!(UnsubscribeCode::ALL.iter().all(|code| !code.reason.is_empty()));
    assert!(ErrorCode::ALL.iter().all(|code| code.code >= 100 && !code.message.is_empty()));
}

#[test]
fn deep_nesting_is_refused_and_brackets_in_strings_do_not_count() {
    let deep = format!("{{\"id\":1,\"rpc\":{{\"data\":{}{}}}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(command::decode(&deep).unwrap_err(), CommandError::Depth);
    let text = format!("{{\"id\":1,\"rpc\":{{\"data\":\"\\\"{}\"}}}}", "[".repeat(200));
    assert!(command::decode(&text).is_ok());
}

fn channels() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ -~]{0,40}").unwrap()
}

proptest! {
    /// Any text is a command or an error; never a panic.
    #[test]
    fn any_text(text in ".{0,200}") {
        for line in command::split(&text) {
            let _ = command::decode(line);
        }
    }

    /// Texts that look like commands, cut and mixed, never panic either, and batches fall into their lines.
    #[test]
    fn nearly_commands(pieces in proptest::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("\"id\":"), Just("1"), Just("\"connect\":"), Just("\"subscribe\":"), Just(","),
        Just("\"channel\":"), Just("\"a\""), Just("null"), Just("[]"), Just("\"data\":"), Just("\\"), Just("\n"),
    ], 0..30)) {
        for line in command::split(&pieces.concat()) {
            prop_assert!(!line.contains('\n') && !line.is_empty());
            let _ = command::decode(line);
        }
    }

    /// What a client writes, the server reads.
    #[test]
    fn commands_come_back(id in 1u32.., channel in channels(), token in ".{0,20}", offset in any::<u64>(),
        epoch in "[a-zA-Z0-9_]{0,8}", recover: bool, flag in 0u64..4) {
        let sent = command::Subscribe {
            channel: channel.into(), token: token.into(), recover, offset, epoch: epoch.into(), flag,
            ..Default::default()
        };
        let mut wire = Vec::new();
        client::encode(&mut wire, Command { id, method: Method::Subscribe(sent.clone()) }).unwrap();
        let text = std::str::from_utf8(&wire).unwrap();
        prop_assert!(!text.contains('\n'));
        let back = command::decode(text).unwrap();
        prop_assert_eq!(back.id, id);
        let Method::Subscribe(got) = back.method else { panic!("another method") };
        prop_assert_eq!(got, sent);
    }

    /// What the server writes, a client reads; the payload comes back as the same JSON, whatever its layout.
    #[test]
    fn publications_come_back(channel in channels(), payload in ".{0,60}", offset in 1u64..(1 << 53), user in ".{0,10}") {
        let data = format!("{{ \n\"text\":\n{} }}", serde_json::to_string(&payload).unwrap());
        let info = ClientInfo { user: &user, client: "c", ..ClientInfo::default() };
        let members = push::members(data.as_bytes(), Some(&info));
        let mut wire = Vec::new();
        push::published(&mut wire, &channel, &Publication { members: &members, offset, epoch: None });
        let mut pieces = Vec::new();
        push::head(&mut pieces, &channel);
        pieces.extend_from_slice(&members);
        push::tail(&mut pieces, offset, None);
        prop_assert_eq!(&wire, &pieces);
        prop_assert!(!wire.contains(&b'\n'));
        let push = client::decode(std::str::from_utf8(&wire).unwrap()).unwrap().push.unwrap();
        prop_assert_eq!(push.channel, channel);
        let published = push.publication.unwrap();
        prop_assert_eq!(published.offset, offset);
        prop_assert_eq!(published.info.unwrap().user, user);
        let value: serde_json::Value = serde_json::from_str(published.data.get()).unwrap();
        prop_assert_eq!(&value["text"], &serde_json::Value::String(payload));
    }

    #[test]
    fn strings_and_numbers_are_json(text in any::<String>(), number in any::<u64>()) {
        let mut out = Vec::new();
        write::string(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        out.clear();
        write::number(&mut out, number);
        prop_assert_eq!(out, number.to_string().into_bytes());
    }
}
