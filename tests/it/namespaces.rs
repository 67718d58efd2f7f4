//! The app's own channels.

use std::time::Duration;

use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::{At, Refused, Session};
use fama_tests::token::{SECRET, now_s, sign};
use serde_json::json;

fn server() -> TestServer {
    Setup::new()
        .namespace("name = 'chat'\nhistory_size = 20\nhistory_ttl_s = 60\nrecovery = 'stream'\nsubscribe = 'user'\npublish = 'user'\nallow_history_for_subscriber = true")
        .namespace("name = 'plain'\nsubscribe = 'anyone'\npublish = 'user'")
        .namespace("name = 'closed'\nsubscribe = 'token'")
        .namespace("name = 'last'\nhistory_size = 1\nhistory_ttl_s = 60\nrecovery = 'cache'\nsubscribe = 'user'\npublish = 'user'")
        .start()
}

fn refused(code: u64) -> Refused {
    Refused { code, temporary: false }
}

#[tokio::test]
async fn publications_reach_everybody_in_order_and_are_recovered() {
    let server = server();
    let (alice, bob) =
        (Session::open(&server.ws_url(), "alice").await, Session::open(&server.ws_url(), "bob").await);
    let reply = alice.subscribe("chat:room", None).await.unwrap();
    assert_eq!((&reply["recoverable"], reply["offset"].as_u64().unwrap_or(0)), (&json!(true), 0));
    bob.subscribe("chat:room", None).await.unwrap();
    for n in 0..5 {
        bob.command("publish", json!({"channel": "chat:room", "data": {"n": n}})).await.unwrap();
    }
    for session in [&alice, &bob] {
        for n in 0..5 {
            let push = session.push("a publication", crate::SOON, |p| p.channel == "chat:room").await;
            assert_eq!((&push.body["data"]["n"], &push.body["offset"]), (&json!(n), &json!(n + 1)));
        }
    }
    assert_eq!(alice.violations(), Vec::<String>::new());
    let at = alice.cut()["chat:room"].clone();
    for n in 5..9 {
        bob.command("publish", json!({"channel": "chat:room", "data": {"n": n}})).await.unwrap();
    }
    let again = Session::open(&server.ws_url(), "alice").await;
    let reply = again.subscribe("chat:room", Some(&at)).await.unwrap();
    assert_eq!((&reply["recovered"], &reply["was_recovering"]), (&json!(true), &json!(true)));
    let missed: Vec<_> = again.pushes().iter().map(|p| p.body["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(missed, [5, 6, 7, 8]);
    assert_eq!(again.violations(), Vec::<String>::new());
    let history = again.command("history", json!({"channel": "chat:room", "limit": 3})).await.unwrap();
    assert_eq!((history["publications"].as_array().unwrap().len(), &history["offset"]), (3, &json!(9)));
}

#[tokio::test]
async fn a_gap_that_cannot_be_filled_is_told() {
    let server = server();
    let bob = Session::open(&server.ws_url(), "bob").await;
    let reply = bob.subscribe("chat:room", None).await.unwrap();
    let start = At { epoch: reply["epoch"].as_str().unwrap().to_owned(), offset: 0 };
    // More than the history and whatever is kept beside it.
    for n in 0..400 {
        // A connection may send so many at once, and then so many a second.
        if n % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        bob.command("publish", json!({"channel": "chat:room", "data": n})).await.unwrap();
    }
    let alice = Session::open(&server.ws_url(), "alice").await;
    let reply = alice.subscribe("chat:room", Some(&start)).await.unwrap();
    assert_eq!(
        (&reply["was_recovering"], reply["recovered"].as_bool().unwrap_or(false)),
        (&json!(true), false)
    );
    assert_eq!(reply["offset"], 400);
    assert!(alice.pushes().is_empty());
    let other = At { epoch: "feed".into(), offset: 400 };
    let carol = Session::open(&server.ws_url(), "carol").await;
    let reply = carol.subscribe("chat:room", Some(&other)).await.unwrap();
    assert_ne!(reply["recovered"], true, "another epoch proves nothing");
}

#[tokio::test]
async fn rules_are_kept() {
    let server = server();
    let alice = Session::open(&server.ws_url(), "alice").await;
    for (channel, code) in [
        ("nowhere:x", 102),
        ("closed:x", 103),
        ("user:#bob", 103),
        ("chat:room#bob,carol", 103),
        ("a b", 107),
        (&"x".repeat(256), 107),
    ] {
        assert_eq!(alice.subscribe(channel, None).await, Err(refused(code)), "{channel}");
    }
    alice.subscribe("chat:room#bob,alice", None).await.unwrap();
    alice.subscribe("plain:x", None).await.unwrap();
    assert_eq!(alice.subscribe("plain:x", None).await, Err(refused(105)));
    let publish = json!({"channel": "closed:x", "data": 1});
    assert_eq!(alice.command("publish", publish).await, Err(refused(103)));
    alice.command("unsubscribe", json!({"channel": "plain:x"})).await.unwrap();
    alice.subscribe("plain:x", None).await.unwrap();
    assert_eq!(
        alice.command("rpc", json!({"method": "x", "data": {}})).await.map_err(|r| r.code / 10),
        Err(10)
    );
}

#[tokio::test]
async fn subscription_tokens_open_closed_channels() {
    let server = server();
    let alice = Session::open(&server.ws_url(), "alice").await;
    let token = |sub: &str, channel: &str, ttl: i64| {
        sign(&json!({"sub": sub, "channel": channel, "exp": now_s() + ttl}), SECRET)
    };
    let ask = async |channel: &str, token: String| {
        alice.command("subscribe", json!({"channel": channel, "token": token})).await.map(drop)
    };
    assert_eq!(ask("closed:x", token("alice", "closed:x", -60)).await, Err(refused(109)));
    assert_eq!(ask("closed:x", "nonsense".to_owned()).await, Err(refused(103)));
    assert_eq!(ask("closed:x", token("alice", "closed:x", 60)).await, Ok(()));
    let foreign = ask("closed:y", token("bob", "closed:y", 60)).await;
    assert_eq!(foreign, Err(Refused { code: 0, temporary: false }), "the connection is closed");
    assert_eq!(alice.closed(crate::SOON).await.code, 3500);
}

#[tokio::test]
async fn a_cache_channel_gives_the_newest() {
    let server = server();
    let bob = Session::open(&server.ws_url(), "bob").await;
    for n in 0..3 {
        bob.command("publish", json!({"channel": "last:price", "data": n})).await.unwrap();
    }
    let alice = Session::open(&server.ws_url(), "alice").await;
    let body = json!({"channel": "last:price", "recover": true, "offset": 0, "epoch": ""});
    let reply = alice.command("subscribe", body).await.unwrap();
    let publications = reply["publications"].as_array().cloned().unwrap_or_default();
    assert_eq!(publications.iter().map(|p| p["data"].clone()).collect::<Vec<_>>(), [json!(2)]);
    assert_eq!(reply["recovered"], true);
}

#[tokio::test]
async fn a_plain_channel_has_no_position() {
    let server = server();
    let alice = Session::open(&server.ws_url(), "alice").await;
    let reply = alice.subscribe("plain:x", None).await.unwrap();
    assert!(reply.get("recoverable").is_none() && reply.get("epoch").is_none(), "{reply}");
    alice.command("publish", json!({"channel": "plain:x", "data": "hi"})).await.unwrap();
    let push = alice.push("it", Duration::from_secs(5), |p| p.channel == "plain:x").await;
    assert!(push.body.get("offset").is_none(), "{push:?}");
}
