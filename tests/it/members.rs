//! Who is in the app's channels: asked for, and told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::{Connect, Push, Refused, Session};
use fama_tests::token::{SECRET, now_s, sign};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::SOON;

const DENIED: Refused = Refused { code: 103, temporary: false };
const OFF: Refused = Refused { code: 108, temporary: false };

fn server() -> TestServer {
    let room = "subscribe = 'user'\npublish = 'user'\npresence = true\nallow_presence_for_subscriber = true";
    Setup::new()
        .namespace(&format!("name = 'room'\njoin_leave = true\n{room}"))
        .namespace(&format!("name = 'all'\njoin_leave = true\nforce_push_join_leave = true\n{room}"))
        .namespace(&format!("name = 'still'\n{room}"))
        .namespace("name = 'shy'\nsubscribe = 'user'\npresence = true\njoin_leave = true")
        .namespace(
            "name = 'gate'\nsubscribe = 'token'\npresence = true\nallow_presence_for_subscriber = true",
        )
        .namespace("name = 'plain'\nsubscribe = 'user'")
        .namespace("name = 'told'\nsubscribe = 'user'\njoin_leave = true\nforce_push_join_leave = true")
        .start()
}

async fn open(server: &TestServer, user: &str) -> Session {
    Session::open(&server.ws_url(), user).await
}

fn client(session: &Session) -> &str {
    session.hello["client"].as_str().expect("an id")
}

/// Subscribes, wanting to hear who comes and goes.
async fn enter(session: &Session, channel: &str) {
    session.command("subscribe", json!({"channel": channel, "join_leave": true})).await.unwrap();
}

async fn list(session: &Session, channel: &str) -> Value {
    let reply = session.command("presence", json!({"channel": channel})).await.unwrap();
    reply["presence"].clone()
}

async fn count(session: &Session, channel: &str) -> (u64, u64) {
    let reply = session.command("presence_stats", json!({"channel": channel})).await.unwrap();
    (reply["num_clients"].as_u64().unwrap(), reply["num_users"].as_u64().unwrap())
}

/// Waits until so many connections and users are in a channel.
async fn counts(session: &Session, channel: &str, wanted: (u64, u64)) {
    let began = Instant::now();
    loop {
        let now = count(session, channel).await;
        if now == wanted {
            return;
        }
        assert!(began.elapsed() < SOON, "{channel}: {now:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The next coming or going that a connection is told, and whose.
async fn news(session: &Session, channel: &str) -> (String, String) {
    let is_news = |push: &Push| push.channel == channel && push.kind != "pub";
    let push = session.push("a coming or going", SOON, is_news).await;
    (push.kind, push.body["info"]["client"].as_str().unwrap().to_owned())
}

/// All that a connection was told of a channel: kinds of pushes, and data or connection.
async fn heard(session: &Session, channel: &str, server: &TestServer) -> Vec<(String, Value)> {
    // Whatever was under way before this is written before it.
    let marker = format!("{}", session.pushes().len());
    let speaker = open(server, "speaker").await;
    speaker.command("publish", json!({"channel": channel, "data": marker})).await.unwrap();
    session.push("the marker", SOON, |push| push.body["data"] == json!(marker)).await;
    let what = |push: Push| match push.kind.as_str() {
        "pub" => (push.kind, push.body["data"].clone()),
        _ => (push.kind, push.body["info"]["client"].clone()),
    };
    let mut all: Vec<_> =
        session.pushes().into_iter().filter(|push| push.channel == channel).map(what).collect();
    all.pop();
    all
}

#[tokio::test]
async fn who_is_there_is_listed_and_counted() {
    let server = server();
    let token = sign(&json!({"sub": "alice", "exp": now_s() + 60, "info": {"name": "Alice"}}), SECRET);
    let how = Connect { token: Some(token), ..Connect::default() };
    let alice = Session::connect(&server.ws_url(), &how).await.unwrap();
    let (phone, laptop) = (open(&server, "bob").await, open(&server, "bob").await);
    for session in [&alice, &phone, &laptop] {
        session.subscribe("room:1", None).await.unwrap();
        // Whoever is in the channel is listed at once.
        assert!(list(session, "room:1").await[client(session)].is_object());
    }
    let expected = json!({
        client(&alice): {"user": "alice", "client": client(&alice), "conn_info": {"name": "Alice"}},
        client(&phone): {"user": "bob", "client": client(&phone)},
        client(&laptop): {"user": "bob", "client": client(&laptop)},
    });
    assert_eq!(list(&phone, "room:1").await, expected);
    assert_eq!(count(&phone, "room:1").await, (3, 2));

    laptop.cut();
    counts(&alice, "room:1", (2, 2)).await;
    phone.goodbye().await;
    counts(&alice, "room:1", (1, 1)).await;
    alice.command("unsubscribe", json!({"channel": "room:1"})).await.unwrap();
    assert_eq!(alice.command("presence", json!({"channel": "room:1"})).await, Err(DENIED));
    alice.subscribe("room:1", None).await.unwrap();
    assert_eq!(count(&alice, "room:1").await, (1, 1));
    assert_eq!(alice.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_subscription_token_says_is_shown_in_its_channel() {
    let server = server();
    let alice = open(&server, "alice").await;
    let token = |info: Value| {
        sign(&json!({"sub": "alice", "channel": "gate:1", "exp": now_s() + 60, "info": info}), SECRET)
    };
    let body = json!({"channel": "gate:1", "token": token(json!({"seat": 7}))});
    alice.command("subscribe", body).await.unwrap();
    let shown = json!({"user": "alice", "client": client(&alice), "chan_info": {"seat": 7}});
    assert_eq!(list(&alice, "gate:1").await[client(&alice)], shown);
    alice.subscribe("room:1", None).await.unwrap();
    assert_eq!(list(&alice, "room:1").await[client(&alice)].get("chan_info"), None);
}

#[tokio::test]
async fn comings_and_goings_are_told_to_those_who_asked() {
    let server = server();
    let (alice, quiet) = (open(&server, "alice").await, open(&server, "quiet").await);
    enter(&alice, "room:1").await;
    quiet.subscribe("room:1", None).await.unwrap();
    let bob = open(&server, "bob").await;
    enter(&bob, "room:1").await;
    let (a, q, b) = (client(&alice), client(&quiet), client(&bob));
    for who in [a, q, b] {
        assert_eq!(news(&alice, "room:1").await, ("join".into(), who.to_owned()));
    }
    assert_eq!(news(&bob, "room:1").await, ("join".into(), b.to_owned()), "one's own");
    alice.command("publish", json!({"channel": "room:1", "data": 1})).await.unwrap();
    bob.command("unsubscribe", json!({"channel": "room:1"})).await.unwrap();
    assert_eq!(news(&alice, "room:1").await, ("leave".into(), b.to_owned()));
    enter(&bob, "room:1").await;
    assert_eq!(news(&alice, "room:1").await, ("join".into(), b.to_owned()));
    let b = b.to_owned();
    bob.cut();
    assert_eq!(news(&alice, "room:1").await, ("leave".into(), b));
    let heard_by_quiet = heard(&quiet, "room:1", &server).await;
    assert_eq!(heard_by_quiet, [("pub".to_owned(), json!(1))], "who did not ask is told nothing more");
    assert_eq!((alice.violations(), quiet.violations()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn where_it_is_forced_everybody_is_told_and_elsewhere_nobody() {
    let server = server();
    let alice = open(&server, "alice").await;
    for channel in ["all:1", "still:1", "shy:1", "told:1"] {
        // Asking changes nothing: it is forced, off, or not allowed.
        let asks = channel == "still:1" || channel == "shy:1";
        alice.command("subscribe", json!({"channel": channel, "join_leave": asks})).await.unwrap();
    }
    let bob = open(&server, "bob").await;
    for channel in ["shy:1", "still:1", "all:1", "told:1"] {
        bob.subscribe(channel, None).await.unwrap();
    }
    let last = |push: &Push| push.channel == "told:1" && push.body["info"]["client"] == client(&bob);
    alice.push("the last coming", SOON, last).await;
    for channel in ["all:1", "told:1"] {
        let told = alice.pushes().into_iter().filter(|push| push.channel == channel);
        let told: Vec<_> = told.map(|push| (push.kind, push.body["info"]["client"].clone())).collect();
        let wanted = [&alice, &bob].map(|who| ("join".to_owned(), json!(client(who))));
        assert_eq!(told, wanted, "{channel}");
    }
    for session in [alice, bob] {
        let told: BTreeSet<_> = session.pushes().into_iter().map(|push| push.channel).collect();
        assert!(!told.contains("still:1") && !told.contains("shy:1"), "{told:?}");
    }
}

#[tokio::test]
async fn nobody_leaves_before_coming_and_no_ghosts_stay() {
    let server = server();
    let alice = open(&server, "alice").await;
    enter(&alice, "room:1").await;
    let url = server.ws_url();
    let storm = (0..60).map(async |n| {
        for round in 0..3 {
            let session = Session::open(&url, &format!("user{}", n % 20)).await;
            session.subscribe("room:1", None).await.unwrap();
            if (n + round) % 2 == 0 {
                session.cut();
            } else {
                session.goodbye().await;
            }
        }
    });
    join_all(storm).await;
    counts(&alice, "room:1", (1, 1)).await;
    let mut there = BTreeSet::new();
    for (kind, who) in heard(&alice, "room:1", &server).await {
        match kind.as_str() {
            "join" => assert!(there.insert(who.to_string()), "{who} came twice"),
            "leave" => assert!(there.remove(&who.to_string()), "{who} left without having come"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(there, BTreeSet::from([json!(client(&alice)).to_string()]));
}

#[tokio::test]
async fn who_may_ask() {
    let server = server();
    let (alice, bob) = (open(&server, "alice").await, open(&server, "bob").await);
    bob.subscribe("room:1", None).await.unwrap();
    for channel in ["shy:1", "plain:1"] {
        alice.subscribe(channel, None).await.unwrap();
    }
    for (channel, expected) in [
        ("room:1", DENIED),
        ("shy:1", DENIED),
        ("gate:1", DENIED),
        ("plain:1", OFF),
        ("told:1", OFF),
        ("bare", OFF),
        ("presence:bob", OFF),
        ("user:#alice", DENIED),
        ("author:bob", DENIED),
        ("nowhere:1", Refused { code: 102, temporary: false }),
        ("room: 1", Refused { code: 107, temporary: false }),
    ] {
        for method in ["presence", "presence_stats"] {
            let session = open(&server, "alice").await;
            if channel == "shy:1" || channel == "plain:1" {
                session.subscribe(channel, None).await.unwrap();
            }
            let answer = session.command(method, json!({"channel": channel})).await;
            assert_eq!(answer, Err(expected.clone()), "{method} of {channel}");
        }
    }
    assert_eq!(count(&bob, "room:1").await, (1, 1));
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused_and_counted_still() {
    let server = server();
    let alice = open(&server, "u0").await;
    let url = server.ws_url();
    let enter = async |n: usize| {
        let session = Session::open(&url, &format!("u{n}")).await;
        session.subscribe("still:1", None).await.unwrap();
        session
    };
    alice.subscribe("still:1", None).await.unwrap();
    let mut others = Vec::new();
    for chunk in (1..1_000).collect::<Vec<_>>().chunks(100) {
        others.extend(join_all(chunk.iter().map(|n| enter(*n))).await);
    }
    assert_eq!(list(&alice, "still:1").await.as_object().unwrap().len(), 1_000);
    others.push(enter(1_000).await);
    let refused = alice.command("presence", json!({"channel": "still:1"})).await;
    assert_eq!(refused, Err(Refused { code: 106, temporary: false }));
    assert_eq!(count(&alice, "still:1").await, (1_001, 1_001));
}
