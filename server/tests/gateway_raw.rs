//! The connection engine against peers that break the rules, over raw sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the other suite")]
mod gateway_world;

use std::time::{Duration, Instant};

use gateway_world::{World, world};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEAD: &str = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn raw(world: &World, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(world.handle.local_addr()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

/// A socket that became a WebSocket.
async fn upgraded(world: &World) -> TcpStream {
    let mut socket = raw(world, HEAD.as_bytes()).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    socket
}

/// All that comes until the server closes, and how long that took.
async fn rest(mut socket: TcpStream) -> (Vec<u8>, Duration) {
    let (mut all, began) = (Vec::new(), Instant::now());
    let read = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut all));
    let _ = read.await.expect("the server does not close");
    (all, began.elapsed())
}

/// The code of the last close frame.
fn close_code(bytes: &[u8]) -> u16 {
    let at =
        bytes.iter().rposition(|byte| *byte == 0x88).unwrap_or_else(|| panic!("no close frame: {bytes:?}"));
    u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..0x1_0000 => {
            out.push(0xfe);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn violations_are_answered_with_their_codes() {
    let world = world(|_| {}).await;
    let claim = |len: u64| [&[0x81, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    let mut pieces = frame(0x01, b"a");
    (0..2_000).for_each(|_| pieces.extend(frame(0x00, b"")));
    for (name, bytes, code) in [
        ("W1 unmasked", vec![0x81, 1, b'a'], 1002),
        ("W2 rsv", frame(0xc1, b"a"), 1002),
        ("W3 opcode 3", frame(0x83, b""), 1002),
        ("W3 opcode 11", frame(0x8b, b""), 1002),
        ("W4 long ping", frame(0x89, &[0; 126]), 1002),
        ("W5 ping in pieces", frame(0x09, b""), 1002),
        ("W6 nothing to continue", frame(0x80, b"a"), 1002),
        ("W6 message in message", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("W7 overlong", frame(0x81, b"\xc0\xaf"), 1007),
        ("W7 surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("W7 incomplete", frame(0x81, b"\xe4\xbd"), 1007),
        ("W7 across frames", [frame(0x01, b"\xce"), frame(0x80, b"a")].concat(), 1007),
        ("W8 one byte", frame(0x88, b"\x03"), 1002),
        ("W8 code 1005", frame(0x88, &1005u16.to_be_bytes()), 1002),
        ("W8 bad reason", frame(0x88, b"\x03\xe8\xff"), 1007),
        ("W9 a tebibyte", claim(1 << 40), 1009),
        ("W9 2^63", claim(1 << 63), 1009),
        ("W10 too long", frame(0x81, &vec![b' '; 65_537]), 1009),
        ("W11 pieces", pieces, 1009),
        ("W12 pings", frame(0x89, b"").repeat(5_000), 3013),
        ("W12 empty texts", frame(0x81, b"").repeat(5_000), 3013),
        ("W17 binary", frame(0x82, b"{}"), 1003),
        ("W18 nesting", frame(0x81, "[".repeat(10_000).as_bytes()), 3501),
    ] {
        let mut socket = upgraded(&world).await;
        socket.write_all(&bytes).await.unwrap();
        let (answer, took) = rest(socket).await;
        assert_eq!(close_code(&answer), code, "{name}");
        assert!(took < Duration::from_secs(6), "{name}: {took:?}");
    }
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodbyes_are_answered_and_sockets_do_not_stay() {
    let world = world(|_| {}).await;
    let mut socket = upgraded(&world).await;
    socket.write_all(&[frame(0x88, &1001u16.to_be_bytes()), vec![0; 5_000]].concat()).await.unwrap();
    assert_eq!(close_code(&rest(socket).await.0), 1001);
    // W20: this one never answers our close frame, W19: this one just goes.
    let mut silent = upgraded(&world).await;
    silent.write_all(&frame(0x81, b"x")).await.unwrap();
    let (answer, took) = rest(silent).await;
    assert_eq!(close_code(&answer), 3501);
    assert!((Duration::from_secs(4)..Duration::from_secs(7)).contains(&took), "{took:?}");
    drop(upgraded(&world).await);
    let began = Instant::now();
    while world.handle.connections() > 0 && began.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.handle.connections(), 0);
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_peers_are_closed_in_time() {
    let world = world(|_| {}).await;
    let silent = raw(&world, b"").await;
    let dribble = raw(&world, b"GET / HTTP/1.1\r\nHost:").await;
    let stale = upgraded(&world).await;
    let mut slow = upgraded(&world).await;
    slow.write_all(&frame(0x81, b"{\"id\":1,\"connect\":{\"token\":\"a\"}}")).await.unwrap();
    slow.write_all(&[0x81]).await.unwrap();
    let (silent, dribble, stale, slow) = tokio::join!(rest(silent), rest(dribble), rest(stale), rest(slow));
    let about =
        |took: Duration, s: u64| took > Duration::from_secs(s - 1) && took < Duration::from_secs(s + 7);
    assert!(silent.0.is_empty() && about(silent.1, 10), "{silent:?}");
    assert!(dribble.0.starts_with(b"HTTP/1.1 408 ") && about(dribble.1, 10), "{dribble:?}");
    assert!(close_code(&stale.0) == 3502 && about(stale.1, 10), "{stale:?}");
    assert!(close_code(&slow.0) == 1008 && about(slow.1, 20), "{slow:?}");
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_read_is_closed_and_the_others_go_on() {
    let world = world(|config| {
        config.limits.queue_bytes = 100_000;
        config.limits.send_buffer = Some(8_192);
        config.limits.bytes_per_s = 0;
    })
    .await;
    let mut deaf = upgraded(&world).await;
    deaf.write_all(&frame(
        0x81,
        b"{\"id\":1,\"connect\":{\"token\":\"deaf\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"raw:x\"}}",
    ))
    .await
    .unwrap();
    let (mut other, mut sender) = (world.user("alice").await, world.user("bob").await);
    other.ask("{\"id\":2,\"subscribe\":{\"channel\":\"raw:x\"}}").await;
    let big = "x".repeat(30_000);
    for n in 2..402 {
        let reply = sender
            .ask(&format!("{{\"id\":{n},\"publish\":{{\"channel\":\"raw:x\",\"data\":\"{big}\"}}}}"))
            .await;
        assert!(reply.publish.is_some());
        other.publication().await;
    }
    // Whatever was on its way is read now; the end of it is whole frames and the reason.
    let (answer, took) = rest(deaf).await;
    assert_eq!(close_code(&answer), 3008, "{took:?}");
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_requests_go_to_the_router_and_bad_heads_nowhere() {
    let world = world(|config| config.limits.connections = 3).await;
    let request = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (answer, _) = rest(raw(&world, format!("{request}{last}").as_bytes()).await).await;
    let text = String::from_utf8(answer).unwrap();
    assert_eq!((text.matches("HTTP/1.1 200 OK").count(), text.matches("hi").count()), (2, 2), "{text}");
    for (head, status) in [
        ("GET / HTTP/1.1\nHost: x\n\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("GET /connection/websocket HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("GET /connection/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"),
    ] {
        let (answer, _) = rest(raw(&world, head.as_bytes()).await).await;
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{head:?}");
    }
    let held = [upgraded(&world).await, upgraded(&world).await, upgraded(&world).await];
    let (answer, _) = rest(raw(&world, HEAD.as_bytes()).await).await;
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "one more than allowed");
    drop(held);
    world.handle.stop();
}
