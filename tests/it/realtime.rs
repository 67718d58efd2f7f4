//! Sockets: connecting, live events, recovery, tokens that end.

use std::collections::BTreeMap;
use std::time::Duration;

use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::{At, Connect, Refused, Session};
use fama_tests::token::{now_s, sign, user_for};
use serde_json::json;

#[tokio::test]
async fn connecting_says_who_and_where() {
    let server = TestServer::spawn();
    let alice = Session::open(&server.ws_url(), "alice").await;
    let hello = &alice.hello;
    assert!(hello["client"].as_str().is_some_and(|c| c.len() >= 20), "{hello}");
    assert_eq!((&hello["expires"], &hello["ping"], &hello["pong"]), (&json!(true), &json!(25), &json!(true)));
    let ttl = hello["ttl"].as_u64().unwrap();
    assert!((3580..=3590).contains(&ttl), "ten seconds before the end: {ttl}");
    let own = &hello["subs"]["user:#alice"];
    assert_eq!(own["recoverable"], true);
    assert!(own["epoch"].as_str().is_some_and(|e| !e.is_empty()), "{own}");
}

#[tokio::test]
async fn what_happens_arrives_live() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.follow("bob").await;
    let session = Session::open(&server.ws_url(), "alice").await;
    let id = bob.publish("one").await;
    let push = session.event("post.created", crate::SOON).await;
    assert_eq!(push.channel, "user:#alice");
    let post = &push.body["data"]["post"];
    assert_eq!(
        (post["id"].as_str(), post["text"].as_str(), post["author"].as_str()),
        (Some(&*id), Some("one"), Some("bob"))
    );
    assert!(post.get("viewer").is_none(), "events carry nothing of the viewer");
    let path = format!("/v1/posts/{id}");
    let _ = bob.patch(&path, &json!({"text": "two"})).await.expect(200);
    let push = session.event("post.updated", crate::SOON).await;
    assert_eq!(
        (&push.body["data"]["post"]["text"], &push.body["data"]["post"]["rev"]),
        (&json!("two"), &json!(2))
    );
    let _ = bob.delete(&path).await.expect(204);
    let push = session.event("post.deleted", crate::SOON).await;
    assert_eq!((&push.body["data"]["id"], &push.body["data"]["author"]), (&json!(id), &json!("bob")));
    let _ = alice.put("/v1/mutes/carol").await.expect(204);
    let push = session.event("relation.changed", crate::SOON).await;
    let data = &push.body["data"];
    assert_eq!(
        (&data["kind"], &data["user"], &data["active"]),
        (&json!("mute"), &json!("carol"), &json!(true))
    );
    let own = alice.publish("mine").await;
    let push = session.event("post.created", crate::SOON).await;
    assert_eq!(push.body["data"]["post"]["id"], json!(own), "one's own post reaches one's devices");
    assert_eq!(session.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_gets_what_is_not_theirs() {
    let server = TestServer::spawn();
    server.user("alice").follow("bob").await;
    let stranger = Session::open(&server.ws_url(), "mallory").await;
    let alice = Session::open(&server.ws_url(), "alice").await;
    for channel in ["user:#alice", "author:bob", "user:#mallory"] {
        let answer = stranger.subscribe(channel, None).await;
        assert!(answer.is_err(), "{channel}: {answer:?}");
    }
    server.user("bob").publish("for followers' feeds").await;
    alice.event("post.created", crate::SOON).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(stranger.pushes().is_empty(), "{:?}", stranger.pushes());
}

#[tokio::test]
async fn a_killed_socket_gets_what_it_missed() {
    let server = TestServer::spawn();
    let bob = server.user("bob");
    server.user("alice").follow("bob").await;
    let mut since = Session::open(&server.ws_url(), "alice").await.cut();
    for round in 0..3 {
        let mut sent = Vec::new();
        for n in 0..10 {
            sent.push(bob.publish(&format!("{round} {n}")).await);
        }
        let session = fama_tests::eventually("all are in the log", crate::SOON, async || {
            let session = Session::resume(&server.ws_url(), "alice", since.clone()).await;
            (session.pushes().len() == 10).then_some(session)
        })
        .await;
        let sub = &session.hello["subs"]["user:#alice"];
        assert_eq!((&sub["recovered"], &sub["was_recovering"]), (&json!(true), &json!(true)));
        let mut got: Vec<_> = session
            .pushes()
            .iter()
            .map(|p| p.body["data"]["post"]["id"].as_str().unwrap().to_owned())
            .collect();
        got.sort();
        assert_eq!(got, sent);
        assert_eq!(session.violations(), Vec::<String>::new());
        since = session.cut();
    }
}

#[tokio::test]
async fn a_restart_is_told_and_the_feed_has_it_all() {
    let mut server = TestServer::spawn();
    server.user("alice").follow("bob").await;
    let session = Session::open(&server.ws_url(), "alice").await;
    server.user("bob").publish("before").await;
    session.event("post.created", crate::SOON).await;
    let since = session.positions();
    server.kill();
    assert_eq!(session.closed(crate::SOON).await.code, 1006);
    server.start();
    let again = Session::resume(&server.ws_url(), "alice", since).await;
    let sub = &again.hello["subs"]["user:#alice"];
    assert_eq!((&sub["was_recovering"], sub["recovered"].as_bool().unwrap_or(false)), (&json!(true), false));
    server.user("bob").publish("after").await;
    again.event("post.created", crate::SOON).await;
    assert_eq!(server.user("alice").feed_texts().await, ["after", "before"]);
    assert_eq!(again.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_celebrity_is_one_shared_channel() {
    let server = Setup::new().set("fanout.celebrity_up", 2).set("fanout.celebrity_down", 1).start();
    let star = server.user("star");
    server.user("fan0").follow("star").await;
    let fan = Session::open(&server.ws_url(), "fan0").await;
    assert!(fan.hello["subs"].get("author:star").is_none(), "not yet: {}", fan.hello);
    for n in 1..4 {
        server.user(&format!("fan{n}")).follow("star").await;
    }
    fama_tests::eventually("the author becomes a celebrity", Duration::from_secs(20), async || {
        let user = star.get("/v1/users/star").await.expect(200);
        (user.body["delivery"] == "pull").then_some(())
    })
    .await;
    fan.push("the channel of the author", Duration::from_secs(20), |p| {
        p.kind == "subscribe" && p.channel == "author:star"
    })
    .await;
    let id = star.publish("to all").await;
    let push = fan.event("post.created", crate::SOON).await;
    assert_eq!(push.body["data"]["post"]["id"], json!(id));
    let _ = server.user("fan0").delete("/v1/following/star").await.expect(204);
    fan.push("the end of it", crate::SOON, |p| p.kind == "unsubscribe" && p.channel == "author:star").await;
    server.user("fan0").follow("star").await;
    fan.push("it again", crate::SOON, |p| p.kind == "subscribe" && p.channel == "author:star").await;
    let fresh = Session::open(&server.ws_url(), "fan1").await;
    assert_eq!(fresh.hello["subs"]["author:star"]["recoverable"], true, "{}", fresh.hello);
    assert_eq!(fan.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn tokens_decide_who_connects() {
    let server = TestServer::spawn();
    let with = |token: Option<String>| Connect { token, ..Connect::default() };
    let refused = async |token: Option<String>| {
        Session::connect(&server.ws_url(), &with(token)).await.err().expect("refused")
    };
    let as_error = |code| format!("{:?}", Refused { code, temporary: false });
    assert_eq!(refused(None).await, as_error(101));
    assert_eq!(refused(Some(user_for("alice", -60))).await, as_error(109));
    let session = Session::raw(&server.ws_url(), &[]).await.unwrap();
    let bad = sign(&json!({"sub": "alice", "exp": now_s() + 60}), "another secret that is 32 bytes or more");
    assert_eq!(session.command("connect", json!({"token": bad})).await.map_err(|r| r.code), Err(0));
    let closed = session.closed(crate::SOON).await;
    assert_eq!(closed.code, 3500);
    assert!(!closed.reason.is_empty(), "clients decide by the code only when there is a reason");
}

#[tokio::test]
async fn a_token_is_refreshed_or_the_connection_ends() {
    let server = TestServer::spawn();
    let connect = |ttl| Connect { token: Some(user_for("alice", ttl)), ..Connect::default() };
    let (one, two) = (connect(1), connect(1));
    let url = server.ws_url();
    let (kept, left) = tokio::join!(Session::connect(&url, &one), Session::connect(&url, &two));
    let (kept, left) = (kept.unwrap(), left.unwrap());
    let fresh = kept.command("refresh", json!({"token": user_for("alice", 600)})).await.unwrap();
    assert_eq!((&fresh["expires"], &fresh["client"]), (&json!(true), &kept.hello["client"]));
    assert_eq!(left.closed(Duration::from_secs(12)).await.code, 3005);
    assert!(kept.is_open());
    let other = kept.command("refresh", json!({"token": user_for("bob", 600)})).await;
    assert!(other.is_err(), "the user of a connection never changes");
    assert_eq!(kept.closed(crate::SOON).await.code, 3500);
}

#[tokio::test]
async fn misuse_of_the_protocol_is_closed() {
    let server = TestServer::spawn();
    let cases = [
        (r#"{"id":1,"subscribe":{"channel":"x"}}"#, 3501),
        (r#"{"id":1,"connect":{"token":5}}"#, 3501),
        ("not json", 3501),
        ("[]", 3501),
    ];
    for (text, code) in cases {
        let session = Session::raw(&server.ws_url(), &[]).await.unwrap();
        session.text(text);
        assert_eq!(session.closed(crate::SOON).await.code, code, "{text}");
    }
    let session = Session::open(&server.ws_url(), "alice").await;
    let _ = session.command("connect", json!({})).await;
    assert_eq!(session.closed(crate::SOON).await.code, 3501, "connect twice");
}

#[tokio::test]
async fn the_oldest_connection_of_a_user_gives_way() {
    let server = Setup::new().set("limits.connections_per_user", 2).start();
    let first = Session::open(&server.ws_url(), "alice").await;
    let second = Session::open(&server.ws_url(), "alice").await;
    let third = Session::open(&server.ws_url(), "alice").await;
    assert_eq!(first.closed(crate::SOON).await.code, 3504);
    assert!(second.is_open() && third.is_open());
}

#[tokio::test]
async fn a_full_server_refuses_before_the_upgrade() {
    let server = Setup::new().set("limits.connections", 2).start();
    let _one = Session::open(&server.ws_url(), "a").await;
    let two = Session::open(&server.ws_url(), "b").await;
    let refused = Session::raw(&server.ws_url(), &[]).await.err().expect("refused");
    assert!(refused.contains("503"), "{refused}");
    drop(two);
    fama_tests::eventually("a place is free", crate::SOON, async || {
        Session::raw(&server.ws_url(), &[]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn foreign_pages_do_not_connect() {
    let server = Setup::new().set("server.allowed_origins", vec!["https://app.example.com"]).start();
    let from = |origin: &str| vec![("origin".to_owned(), origin.to_owned())];
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil",
        "http://app.example.com",
        "https://app.example.com.",
        "https://app.example.com:8443",
        "https://app.example.com@evil.example",
        "https://evil.example/https://app.example.com",
        "app.example.com",
        "",
    ] {
        let refused = Session::raw(&server.ws_url(), &from(origin)).await.err().unwrap_or_default();
        assert!(refused.contains("403"), "{origin}: {refused}");
    }
    for origin in ["https://app.example.com", &server.url()] {
        assert!(Session::raw(&server.ws_url(), &from(origin)).await.is_ok(), "{origin}");
    }
}

#[tokio::test]
async fn foreign_positions_prove_nothing() {
    let server = TestServer::spawn();
    for (epoch, offset) in [("", 99), ("zz", 1), ("feedbeef", 1), ("1", u64::MAX >> 12)] {
        let since = BTreeMap::from([("user:#alice".to_owned(), At { epoch: epoch.to_owned(), offset })]);
        let session = Session::resume(&server.ws_url(), "alice", since).await;
        let sub = &session.hello["subs"]["user:#alice"];
        assert_ne!(sub["recovered"], true, "{epoch} {offset}: {sub}");
    }
}
