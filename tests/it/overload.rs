//! Too many clients, too little of everything: what is refused, how, and that the rest goes on.

use std::time::Duration;

use fama_tests::eventually;
use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use fama_tests::token::user;
use fama_tests::wire::{Head, Wire, upgrade};
use serde_json::json;

const PATH: &str = "/connection/websocket";

/// Asks for a WebSocket from this address of ours, saying it is for `forwarded`.
async fn handshake(server: &TestServer, source: &str, forwarded: Option<&str>) -> (Wire, Head) {
    let mut wire = Wire::open_from(source, server.address()).await;
    wire.write(&upgrade(PATH, server.address(), &[("X-Forwarded-For", forwarded)])).await;
    let head = wire.head().await;
    (wire, head)
}

/// The answer that says: later.
#[track_caller]
fn refused(head: &Head, status: u16) {
    assert_eq!(head.status, status, "{}", head.text);
    assert!(head.header("retry-after").is_some_and(|seconds| seconds != "0"), "{}", head.text);
    assert_eq!(head.header("connection"), Some("close"), "{}", head.text);
}

/// The sum of a metric's series that have all of `labels`.
async fn metric(server: &TestServer, name: &str, labels: &[&str]) -> f64 {
    let text = server.admin().get("/metrics").await.expect(200).text;
    let lines =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn counted(server: &TestServer, limit: &str) {
    let label = format!("limit=\"{limit}\"");
    eventually("the refusal is counted", crate::SOON, async || {
        (metric(server, "fama_gateway_limited_total", &[&label]).await >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_has_so_many_sockets() {
    let server = Setup::new().set("limits.connections_per_address", 2).start();
    let _first = Session::open(&server.ws_url(), "alice").await;
    let second = Session::open(&server.ws_url(), "bob").await;
    refused(&handshake(&server, "127.0.0.1", None).await.1, 429);
    refused(&handshake(&server, "127.0.0.1", Some("192.0.2.1")).await.1, 429);
    let (_other, head) = handshake(&server, "127.0.0.2", None).await;
    assert_eq!(head.status, 101, "{}", head.text);
    counted(&server, "address").await;
    drop(second);
    eventually("a place is free again", crate::SOON, async || {
        (handshake(&server, "127.0.0.1", None).await.1.status == 101).then_some(())
    })
    .await;
}

/// Behind a proxy it is the client that is counted.
#[tokio::test]
async fn clients_of_a_proxy_are_counted_apart() {
    let setup = Setup::new().set("limits.connections_per_address", 1);
    let server = setup.set("server.trusted_proxies", vec!["127.0.0.1"]).start();
    let (_first, head) = handshake(&server, "127.0.0.1", Some("192.0.2.1")).await;
    assert_eq!(head.status, 101, "{}", head.text);
    refused(&handshake(&server, "127.0.0.1", Some("203.0.113.9, 192.0.2.1")).await.1, 429);
    let (_second, head) = handshake(&server, "127.0.0.1", Some("192.0.2.2")).await;
    assert_eq!(head.status, 101, "{}", head.text);
}

#[tokio::test]
async fn handshakes_have_a_rate() {
    let server = Setup::new().set("limits.handshakes_per_s", 4).start();
    let all: Vec<_> = (0..20).map(|_| handshake(&server, "127.0.0.1", None)).collect();
    let all = futures_util::future::join_all(all).await;
    let made = all.iter().filter(|(_, head)| head.status == 101).count();
    // Those of a second, and what comes in while they are asked for.
    assert!((4..=12).contains(&made), "{made} of {}", all.len());
    all.iter().filter(|(_, head)| head.status != 101).for_each(|(_, head)| refused(head, 503));
    counted(&server, "handshakes").await;
    eventually("the rate allows one more", crate::SOON, async || {
        (handshake(&server, "127.0.0.1", None).await.1.status == 101).then_some(())
    })
    .await;

    let server = Setup::new().set("limits.handshakes_per_address_per_minute", 3).start();
    for _ in 0..3 {
        assert_eq!(handshake(&server, "127.0.0.1", None).await.1.status, 101);
    }
    refused(&handshake(&server, "127.0.0.1", None).await.1, 429);
    assert_eq!(handshake(&server, "127.0.0.2", None).await.1.status, 101);
    counted(&server, "address_handshakes").await;
}

#[tokio::test]
async fn strangers_are_few() {
    let server = Setup::new().set("limits.unauthenticated", 2).start();
    let (_one, _) = handshake(&server, "127.0.0.1", None).await;
    let mut signed_in = Vec::new();
    for n in 0..3 {
        signed_in.push(Session::open(&server.ws_url(), &format!("u{n}")).await);
    }
    // The shard that counts hears of it a moment after the client does.
    let two = eventually("who signed in does not count", crate::SOON, async || {
        let (two, head) = handshake(&server, "127.0.0.1", None).await;
        (head.status == 101).then_some(two)
    })
    .await;
    refused(&handshake(&server, "127.0.0.1", None).await.1, 503);
    counted(&server, "unauthenticated").await;
    drop(two);
    eventually("another one may sign in", crate::SOON, async || {
        (handshake(&server, "127.0.0.1", None).await.1.status == 101).then_some(())
    })
    .await;
}

/// Without memory nobody new comes in; requests, and the probe that would have the process killed, are answered.
#[tokio::test]
async fn without_memory_nobody_new_comes_in() {
    let server = Setup::new().set("limits.memory_bytes", 1_000_000).start();
    let anyone = server.anonymous();
    eventually("readiness says so", crate::SOON, async || {
        (anyone.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    refused(&handshake(&server, "127.0.0.1", None).await.1, 503);
    assert_eq!(anyone.get("/health/live").await.status, 200);
    let _ = server.user("alice").get("/v1/feed").await.expect(200);
    counted(&server, "memory").await;
}

/// Milliseconds of processor time that the process has used.
fn used_ms(server: &TestServer) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("it runs");
    let fields: Vec<u64> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2)
        .flat_map(str::parse)
        .collect();
    fields.iter().sum::<u64>() * 10
}

#[tokio::test]
async fn without_files_who_is_there_stays() {
    let server = TestServer::spawn();
    let warned = "`limits.connections` is more than the limit of open files allows";
    assert!(server.log().contains(warned), "a million do not fit into what tests may open: {}", server.log());
    let alice = Session::open(&server.ws_url(), "alice").await;
    let rest = Rest::pooled(&server.url()).bearer(&user("alice"));
    let _ = rest.get("/v1/feed").await.expect(200);
    let limit = |files: usize| {
        let files = format!("--nofile={files}:");
        let set =
            std::process::Command::new("prlimit").args(["--pid", &server.pid().to_string(), &files]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit {files}");
    };
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count();
    limit(open);
    // They say nothing, so none of them goes away by itself.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(Wire::open(server.address()).await);
    }
    eventually("there are no files left", crate::SOON, async || {
        server.log().contains("no connection can be accepted").then_some(())
    })
    .await;
    let id = rest.publish("through an open connection").await;
    let push = alice.event("post.created", crate::SOON).await;
    assert_eq!(push.body["data"]["post"]["id"], json!(id));
    for _ in 0..3 {
        assert_eq!(server.admin().get("/health/live").await.status, 200, "operators get in");
    }
    let before = used_ms(&server);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = used_ms(&server) - before;
    assert!(used < 400, "waiting for files takes {used} ms of a second");
    let lines = server.log().matches("no connection can be accepted").count();
    assert!(lines <= 4, "{lines} lines of log");
    drop(silent);
    limit(open + 100);
    eventually("all goes on", Duration::from_secs(15), async || {
        (handshake(&server, "127.0.0.1", None).await.1.status == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_method_comes_before_sign_in() {
    let server = TestServer::spawn();
    let both = server.user("alice").header("x-api-key", "wrong");
    for caller in [server.anonymous(), server.user("alice"), both] {
        let answer = caller.delete("/v1/feed").await;
        assert_eq!(answer.header("allow"), "GET,HEAD");
        answer.refused(405, "method_not_allowed");
    }
}

/// While it drains: not ready, no new sockets, and what is asked is answered on connections that end.
#[tokio::test]
async fn a_drain_tells_everybody() {
    let mut server = Setup::new().set("server.drain_s", 12).start();
    let session = Session::open(&server.ws_url(), "alice").await;
    let _ = server.admin().post("/admin/drain", &json!({})).await.expect(202);
    let ready = server.anonymous().get("/health/ready").await;
    assert_eq!((ready.status, ready.header("connection")), (503, "close"));
    refused(&handshake(&server, "127.0.0.1", None).await.1, 503);
    let id = server.user("alice").publish("still served").await;
    let push = session.event("post.created", crate::SOON).await;
    assert_eq!(push.body["data"]["post"]["id"], json!(id), "and told");
    assert_eq!(session.closed(crate::SOON).await.code, 3001);
    let status = tokio::task::spawn_blocking(move || server.wait(Duration::from_secs(12)));
    assert!(status.await.expect("it is waited for").is_some_and(|status| status.success()));
}
