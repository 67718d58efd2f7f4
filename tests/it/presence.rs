//! Who is online: over devices, goodbyes and lost sockets, as each viewer may see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::{Refused, Session};
use serde_json::{Value, json};

const DENIED: Refused = Refused { code: 103, temporary: false };

/// Longer than a change takes to be told.
const TOLD: Duration = Duration::from_millis(800);

async fn look(viewer: &Rest, user: &str) -> Value {
    let answer = viewer.get(&format!("/v1/presence?users={user}")).await.expect(200);
    answer.body["data"][0].clone()
}

/// Status and number of devices.
async fn brief(viewer: &Rest, user: &str) -> (String, u64) {
    let seen = look(viewer, user).await;
    (seen["status"].as_str().unwrap().to_owned(), seen["devices"].as_u64().unwrap())
}

async fn choose(user: &Rest, status: &str) {
    let _ = user.put_json("/v1/presence", &json!({"status": status})).await.expect(204);
}

/// What a watcher is told next of a user.
async fn told(session: &Session, user: &str, limit: Duration) -> Value {
    let channel = format!("presence:{user}");
    let push = session.push(&channel, limit, |push| push.channel == channel).await;
    assert_eq!(push.kind, "pub", "{push:?}");
    assert_eq!(push.body["data"]["user"], user);
    push.body["data"].clone()
}

/// Watches a user; the status at the start.
async fn watch(session: &Session, user: &str) -> String {
    let reply = session.subscribe(&format!("presence:{user}"), None).await.unwrap();
    let first = reply["publications"][0]["data"].clone();
    assert_eq!(first["user"], user, "the reply brings the last value: {reply}");
    assert_eq!(told(session, user, TOLD).await, first);
    first["status"].as_str().unwrap().to_owned()
}

async fn is_told(session: &Session, user: &str, status: &str, limit: Duration) -> Value {
    let data = told(session, user, limit).await;
    assert_eq!(data["status"], status, "{data}");
    data
}

/// Nothing that was not taken yet is there of presence.
async fn quiet(session: &Session) {
    let more = tokio::time::timeout(TOLD, session.more()).await;
    if let Ok(Some(pushes)) = more {
        let presence: Vec<_> = pushes.iter().filter(|push| push.channel.starts_with("presence:")).collect();
        assert!(presence.is_empty(), "{presence:?}");
    }
}

fn graced(seconds: i64) -> TestServer {
    Setup::new().set("presence.grace_s", seconds).start()
}

#[tokio::test]
async fn a_user_is_online_while_any_device_is_and_says_goodbye() {
    let server = graced(60);
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let watcher = Session::open(&server.ws_url(), "alice").await;
    assert_eq!(watch(&watcher, "bob").await, "offline");
    let unknown = json!({"user": "bob", "status": "offline", "last_seen": null, "devices": 0});
    assert_eq!(look(&alice, "bob").await, unknown);

    let phone = Session::open(&server.ws_url(), "bob").await;
    is_told(&watcher, "bob", "online", Duration::from_secs(2)).await;
    let laptop = Session::open(&server.ws_url(), "bob").await;
    assert_eq!(brief(&alice, "bob").await, ("online".into(), 2));
    choose(&bob, "away").await;
    is_told(&watcher, "bob", "away", Duration::from_secs(1)).await;
    choose(&bob, "online").await;
    is_told(&watcher, "bob", "online", Duration::from_secs(1)).await;

    phone.goodbye().await;
    quiet(&watcher).await;
    assert_eq!(brief(&alice, "bob").await, ("online".into(), 1), "the other device is there");
    let began = Instant::now();
    laptop.goodbye().await;
    let gone = is_told(&watcher, "bob", "offline", Duration::from_secs(5)).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(3_800), "a page that loads again is not gone: {took:?}");
    let seen = look(&alice, "bob").await;
    assert_eq!((&seen["status"], &seen["devices"]), (&json!("offline"), &json!(0)));
    assert!(gone["last_seen"].is_string() && gone["last_seen"] == seen["last_seen"], "{gone} {seen}");
    assert_eq!(watcher.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_socket_has_the_grace_and_flaps_are_not_seen() {
    let server = graced(2);
    let watcher = Session::open(&server.ws_url(), "alice").await;
    let bob = Session::open(&server.ws_url(), "bob").await;
    assert_eq!(watch(&watcher, "bob").await, "online");
    let mut bob = Some(bob);
    for _ in 0..3 {
        if let Some(before) = bob.take() {
            before.cut();
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        bob = Some(Session::open(&server.ws_url(), "bob").await);
    }
    quiet(&watcher).await;
    if let Some(last) = bob {
        last.cut();
    }
    let began = Instant::now();
    is_told(&watcher, "bob", "offline", Duration::from_secs(4)).await;
    assert!(began.elapsed() >= Duration::from_millis(1_800), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_invisible_look_offline_also_after_a_crash() {
    let mut server = graced(1);
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let watcher = Session::open(&server.ws_url(), "alice").await;
    let device = Session::open(&server.ws_url(), "bob").await;
    assert_eq!(watch(&watcher, "bob").await, "online");
    choose(&bob, "invisible").await;
    let hidden = is_told(&watcher, "bob", "offline", Duration::from_secs(1)).await;
    let frozen = hidden["last_seen"].clone();
    assert!(frozen.is_string(), "that is when others saw bob last: {hidden}");
    device.goodbye().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = look(&alice, "bob").await;
    assert_eq!((&seen["status"], &seen["last_seen"]), (&json!("offline"), &frozen), "leaving is not seen");
    quiet(&watcher).await;

    server.crash();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let _device = Session::open(&server.ws_url(), "bob").await;
    let seen = look(&alice, "bob").await;
    assert_eq!((&seen["status"], &seen["last_seen"]), (&json!("offline"), &frozen));
    choose(&bob, "online").await;
    assert_eq!(brief(&alice, "bob").await, ("online".into(), 1));
    let _ = server.terminate(Duration::from_secs(15));
    server.start();
    let seen = look(&server.user("alice"), "bob").await;
    assert_eq!(seen["status"], "offline");
    assert!(seen["last_seen"].as_str() > frozen.as_str(), "stopping in order writes who was there: {seen}");
}

#[tokio::test]
async fn followers_see_until_they_unfollow() {
    let server = Setup::new().set("presence.visibility", "followers").start();
    let (alice, carol) = (server.user("alice"), server.user("carol"));
    let _bob = Session::open(&server.ws_url(), "bob").await;
    let watcher = Session::open(&server.ws_url(), "alice").await;
    let refused = watcher.subscribe("presence:bob", None).await;
    assert_eq!(refused, Err(DENIED));
    assert_eq!(brief(&alice, "bob").await, ("offline".into(), 0), "as somebody who was never there");
    alice.follow("bob").await;
    assert_eq!(watch(&watcher, "bob").await, "online");
    assert_eq!(watch(&watcher, "alice").await, "online", "oneself");
    assert_eq!(
        (brief(&alice, "bob").await.0, brief(&carol, "bob").await.0),
        ("online".into(), "offline".into())
    );
    assert_eq!(brief(&server.service(), "bob").await.0, "online", "the app itself");

    let _ = alice.delete("/v1/following/bob").await.expect(204);
    let ended = watcher.push("the end", Duration::from_secs(1), |push| push.channel == "presence:bob").await;
    assert_eq!((&*ended.kind, &ended.body["code"]), ("unsubscribe", &json!(2000)));
    assert_eq!(watcher.subscribe("presence:bob", None).await, Err(DENIED));
    assert_eq!(brief(&alice, "bob").await.0, "offline");
}

#[tokio::test]
async fn mutual_and_nobody_mean_what_they_say() {
    let server = Setup::new().set("presence.visibility", "mutual").start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let _device = Session::open(&server.ws_url(), "bob").await;
    let watcher = Session::open(&server.ws_url(), "alice").await;
    alice.follow("bob").await;
    assert_eq!(watcher.subscribe("presence:bob", None).await, Err(DENIED));
    bob.follow("alice").await;
    assert_eq!(watch(&watcher, "bob").await, "online");
    let _ = bob.delete("/v1/following/alice").await.expect(204);
    let ended = watcher.push("the end", Duration::from_secs(1), |push| push.channel == "presence:bob").await;
    assert_eq!(ended.kind, "unsubscribe", "the watched one ended it");

    let server = Setup::new().set("presence.visibility", "nobody").start();
    let watcher = Session::open(&server.ws_url(), "alice").await;
    assert_eq!(watcher.subscribe("presence:bob", None).await, Err(DENIED));
}

#[tokio::test]
async fn whoever_is_blocked_sees_somebody_offline() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (one, two) =
        (Session::open(&server.ws_url(), "alice").await, Session::open(&server.ws_url(), "bob").await);
    assert_eq!((watch(&one, "bob").await, watch(&two, "alice").await), ("online".into(), "online".into()));
    let _ = bob.put("/v1/blocks/alice").await.expect(204);
    let hidden = is_told(&one, "bob", "offline", Duration::from_secs(1)).await;
    assert_eq!(hidden["last_seen"], Value::Null);
    assert_eq!(
        (brief(&alice, "bob").await.0, brief(&bob, "alice").await.0),
        ("offline".into(), "online".into())
    );
    choose(&bob, "away").await;
    quiet(&one).await;
    let late = Session::open(&server.ws_url(), "alice").await;
    assert_eq!(watch(&late, "bob").await, "offline", "the block is not told");
    let _ = bob.delete("/v1/blocks/alice").await.expect(204);
    is_told(&one, "bob", "away", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn bounds_are_told() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let many = |count: usize| (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>().join(",");
    let all = alice.get(&format!("/v1/presence?users={}", many(500))).await.expect(200);
    assert_eq!(all.body["data"].as_array().unwrap().len(), 500);
    for query in [many(501), "a,,b".into(), "a&x=1".into(), "%20".into()] {
        alice.get(&format!("/v1/presence?users={query}")).await.refused(400, "bad_request");
    }
    alice.get("/v1/presence").await.refused(400, "bad_request");
    for body in [json!({"status": "offline"}), json!({}), json!({"status": "away", "for": 5})] {
        alice.put_json("/v1/presence", &body).await.refused(400, "bad_request");
    }
    server.anonymous().get("/v1/presence?users=a").await.refused(401, "unauthorized");
    let nobody = server.service().put_json("/v1/presence", &json!({"status": "away"})).await;
    nobody.refused(400, "bad_request");

    let session = Session::open(&server.ws_url(), "alice").await;
    for n in 0..500 {
        // A connection may send so many frames at once, and then so many a second.
        if n == 400 {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        session.subscribe(&format!("presence:u{n}"), None).await.unwrap();
    }
    let beyond = session.subscribe("presence:u500", None).await;
    assert_eq!(beyond, Err(Refused { code: 106, temporary: false }));
    let again = session.subscribe("presence:u1", None).await;
    assert_eq!(again, Err(Refused { code: 105, temporary: false }));
    session.command("unsubscribe", json!({"channel": "presence:u1"})).await.unwrap();
    session.subscribe("presence:u500", None).await.unwrap();
    for (method, code) in [("publish", 108), ("history", 108), ("presence", 108)] {
        let body = json!({"channel": "presence:u2", "data": {}});
        assert_eq!(session.command(method, body).await.unwrap_err().code, code, "{method}");
    }
}
