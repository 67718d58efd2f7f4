//! Violations of RFC 6455 after the upgrade: the close code is sent, then the connection ends. W1–W20.

use std::time::Duration;

use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use fama_tests::wire::{Wire, frame, frame_head, unmasked};

use crate::PATH;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// Sends the bytes on a new connection and reads the close code; the connection must then end.
async fn answer(server: &TestServer, bytes: &[u8]) -> Option<u16> {
    let mut wire = Wire::websocket(server.address(), PATH).await;
    wire.write(bytes).await;
    let code = wire.close_code().await;
    assert!(wire.ended(Duration::from_secs(6)).await, "the server keeps a connection that it has closed");
    code
}

async fn all(server: &TestServer, cases: &[(&str, Vec<u8>)], code: u16) {
    for (what, bytes) in cases {
        assert_eq!(answer(server, bytes).await, Some(code), "{what}");
    }
}

#[tokio::test]
async fn malformed_frames_are_1002() {
    let server = TestServer::spawn();
    let mut cases = vec![
        ("unmasked", unmasked(TEXT, b"{}")),
        ("long ping", frame(PING, &[0; 126])),
        ("ping in pieces", frame(0x09, b"x")),
        ("continuation of nothing", frame(0x80, b"x")),
        ("text inside a text", [frame(0x01, b"a"), frame(TEXT, b"b")].concat()),
        ("length not minimal", [&[TEXT, 0xfe, 0, 5][..], &[0; 9]].concat()),
        ("length of 64 bits", [&[TEXT, 0xff, 0x80][..], &[0; 11]].concat()),
    ];
    cases.extend([0xc1, 0xa1, 0x91].map(|first| ("reserved bit", frame(first, b"{}"))));
    cases.extend([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|code| ("opcode", frame(0x80 | code, b""))));
    all(&server, &cases[..6], 1002).await;
    // A length of 2^63 and more is malformed, or too big: both are true.
    assert!(matches!(answer(&server, &cases[6].1).await, Some(1002 | 1009)));
    all(&server, &cases[7..], 1002).await;
}

#[tokio::test]
async fn malformed_closes_are_1002() {
    let server = TestServer::spawn();
    let body = |code: u16| code.to_be_bytes().to_vec();
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    let mut cases: Vec<(&str, Vec<u8>)> = codes.map(|code| ("code", frame(CLOSE, &body(code)))).to_vec();
    cases.push(("one byte", frame(CLOSE, &[3])));
    all(&server, &cases, 1002).await;
    let reason = [&body(1000)[..], b"\xff\xfe"].concat();
    assert_eq!(answer(&server, &frame(CLOSE, &reason)).await, Some(1007), "the reason is not UTF-8");
    for code in [1000, 1001, 1011, 1012, 3000, 4999] {
        assert_eq!(answer(&server, &frame(CLOSE, &body(code))).await, Some(code), "a good close is echoed");
    }
    assert!(matches!(answer(&server, &frame(CLOSE, b"")).await, Some(1000 | 1005)));
}

#[tokio::test]
async fn text_that_is_not_utf8_is_1007() {
    let server = TestServer::spawn();
    let cases = [
        ("overlong", frame(TEXT, b"\xc0\xaf")),
        ("surrogate", frame(TEXT, b"\xed\xa0\x80")),
        ("above the last", frame(TEXT, b"\xf4\x90\x80\x80")),
        ("ends too soon", frame(TEXT, b"\xe2\x82")),
        ("split", [frame(0x01, b"\xe2"), frame(0x80, b"\x28\xa1")].concat()),
        // The message is not complete, and never will be: the answer may not wait for it.
        ("at once", [frame_head(TEXT, 100), vec![0xff ^ 0x37; 1]].concat()),
    ];
    all(&server, &cases, 1007).await;
}

#[tokio::test]
async fn what_is_too_big_is_1009() {
    let server = TestServer::spawn();
    let piece = vec![b' '; 40_000];
    let mut tiny = frame(0x01, b" ");
    for _ in 0..10_000 {
        tiny.extend(frame(0x00, b""));
    }
    let cases = [
        ("1 TiB", frame_head(TEXT, 1 << 40)),
        ("65,537 bytes", frame_head(TEXT, 65_537)),
        ("65,537 bytes, sent", frame(TEXT, &vec![b' '; 65_537])),
        ("pieces", [frame(0x01, &piece), frame(0x80, &piece)].concat()),
        ("10,000 pieces", tiny),
    ];
    all(&server, &cases, 1009).await;
}

#[tokio::test]
async fn binary_frames_need_the_subprotocol() {
    let server = TestServer::spawn();
    assert_eq!(answer(&server, &frame(BINARY, b"{}")).await, Some(1003));
}

#[tokio::test]
async fn floods_are_3013() {
    let server = Setup::new().namespace("name = 'x'\nsubscribe = 'user'\npublish = 'user'").start();
    let publish = br#"{"id":2,"publish":{"channel":"x:y","data":{"n":1}}}"#;
    for (what, one) in [
        ("pings", frame(PING, b"x")),
        ("pongs", frame(0x8a, b"")),
        ("nothing", frame(TEXT, b" ")),
        ("commands", frame(TEXT, publish)),
        ("large commands", frame(TEXT, &[&publish[..], &[b' '; 400]].concat())),
    ] {
        let mut wire = Wire::websocket(server.address(), PATH).await;
        let token = fama_tests::token::user("alice");
        let connect = format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}");
        wire.write(&frame(TEXT, connect.as_bytes())).await;
        assert_eq!(wire.frame().await.map(|f| f.opcode), Some(1));
        // All of it before a look at the answers, as a client does that has lost its mind.
        for _ in 0..50 {
            wire.write(&one.repeat(1000)).await;
        }
        assert_eq!(wire.close_code().await, Some(3013), "{what}");
        assert!(wire.ended(Duration::from_secs(4)).await, "{what}: the connection ends");
    }
}

#[tokio::test]
async fn a_ping_is_answered() {
    let server = TestServer::spawn();
    let mut wire = Wire::websocket(server.address(), PATH).await;
    wire.write(&frame(PING, b"hello")).await;
    let pong = wire.frame().await.unwrap();
    assert_eq!((pong.opcode, &*pong.payload), (10, &b"hello"[..]));
}

#[tokio::test]
async fn strange_json_is_3501() {
    let server = TestServer::spawn();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let wide = format!("{{\"id\":1,\"connect\":{{\"data\":{deep}}}}}");
    let cases: [(&str, Vec<u8>); 6] = [
        ("deep", frame(TEXT, deep.as_bytes())),
        ("deep data", frame(TEXT, wide.as_bytes())),
        ("a number too large", frame(TEXT, br#"{"id":1e400,"connect":{}}"#)),
        ("NaN", frame(TEXT, br#"{"id":NaN,"connect":{}}"#)),
        ("a lone surrogate", frame(TEXT, br#"{"id":1,"connect":{"token":"\ud800"}}"#)),
        ("an unknown method", frame(TEXT, br#"{"id":1,"conect":{}}"#)),
    ];
    all(&server, &cases, 3501).await;
}

/// Nothing of a connection is left when its client is gone, whatever way it went.
#[tokio::test]
async fn connections_that_break_are_cleaned_up() {
    let server = TestServer::spawn();
    let connections = async || server.anonymous().get("/health").await.body["connections"].as_u64();
    let mut silent = Wire::websocket(server.address(), PATH).await;
    let mut reset = Wire::websocket(server.address(), PATH).await;
    let mut polite = Wire::websocket(server.address(), PATH).await;
    fama_tests::eventually("they are counted", Duration::from_secs(5), async || {
        (connections().await == Some(3)).then_some(())
    })
    .await;
    silent.finish().await;
    reset.write(&frame_head(TEXT, 1000)).await;
    drop(reset);
    polite.write(&[frame(CLOSE, &1000_u16.to_be_bytes()), frame(TEXT, b"more")].concat()).await;
    assert_eq!(polite.close_code().await, Some(1000));
    fama_tests::eventually("they are gone", Duration::from_secs(10), async || {
        (connections().await == Some(0)).then_some(())
    })
    .await;
}

/// A peer that never answers a close, and one whose message never ends.
#[tokio::test]
async fn patience_ends() {
    let server = TestServer::spawn();
    let mut deaf = Wire::websocket(server.address(), PATH).await;
    deaf.write(&unmasked(TEXT, b"{}")).await;
    assert_eq!(deaf.close_code().await, Some(1002));
    assert!(deaf.ended(Duration::from_secs(7)).await, "a close that is not answered ends after 5 s");
    let silent = Session::raw(&server.ws_url(), &[]).await.unwrap();
    let mut slow = Wire::websocket(server.address(), PATH).await;
    let token = fama_tests::token::user("alice");
    let connect = format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}");
    slow.write(&frame(TEXT, connect.as_bytes())).await;
    assert_eq!(slow.frame().await.map(|f| f.opcode), Some(1));
    slow.write(&frame_head(TEXT, 10)).await;
    let closed = silent.closed(Duration::from_secs(12)).await;
    assert_eq!(closed.code, 3502, "no connect within 10 s");
    assert!(slow.ended(Duration::from_secs(30)).await, "a message has 30 s to arrive");
}

/// A client that never reads is closed when its bytes are too many; others do not notice.
#[tokio::test]
async fn a_client_that_never_reads_is_let_go() {
    let server = Setup::new()
        .set("limits.queue_bytes", 65_536)
        .namespace("name = 'x'\nsubscribe = 'user'\npublish = 'user'")
        .start();
    let mut stuck = Wire::narrow_websocket(server.address(), PATH).await;
    let token = fama_tests::token::user("stuck");
    let hello = format!(
        "{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"x:y\"}}}}"
    );
    stuck.write(&frame(TEXT, hello.as_bytes())).await;
    let reader = Session::open(&server.ws_url(), "reader").await;
    reader.subscribe("x:y", None).await.unwrap();
    let data = "z".repeat(30_000);
    // More than the system's buffers hold for one socket, at a rate that one connection may send.
    let count = 250;
    for n in 0..count {
        let body = serde_json::json!({"channel": "x:y", "data": {"n": n, "data": data}});
        reader.command("publish", body).await.unwrap();
        tokio::time::sleep(Duration::from_millis(if n < 50 { 0 } else { 110 })).await;
    }
    reader.push("the last", Duration::from_secs(20), |p| p.body["data"]["n"] == count - 1).await;
    fama_tests::eventually("the other is let go", Duration::from_secs(10), async || {
        (server.anonymous().get("/health").await.body["connections"] == 1).then_some(())
    })
    .await;
    drop(stuck);
}
