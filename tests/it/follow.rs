//! The follow graph.

use fama_tests::server::{Setup, TestServer};
use serde_json::json;

use crate::users;

#[tokio::test]
async fn follows_are_idempotent_and_seen_from_both_ends() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    for _ in 0..3 {
        alice.follow("bob").await;
    }
    server.user("carol").follow("bob").await;
    assert_eq!(users(&alice.walk("/v1/following", 10).await), ["bob"]);
    assert_eq!(users(&bob.walk("/v1/followers", 1).await), ["alice", "carol"]);
    assert_eq!(users(&alice.walk("/v1/users/bob/followers", 1).await), ["alice", "carol"]);
    assert_eq!(users(&bob.walk("/v1/users/alice/following", 10).await), ["bob"]);
    let seen = alice.get("/v1/users/bob").await.expect(200).body;
    assert_eq!((seen["followers"].as_u64(), seen["following"].as_u64()), (Some(2), Some(0)));
    assert_eq!(seen["viewer"]["following"], true);
    assert_eq!(bob.get("/v1/users/alice").await.expect(200).body["viewer"]["followed_by"], true);
    for _ in 0..2 {
        let _ = alice.delete("/v1/following/bob").await.expect(204);
    }
    let seen = alice.get("/v1/users/bob").await.expect(200).body;
    assert_eq!((seen["followers"].as_u64(), &seen["viewer"]["following"]), (Some(1), &json!(false)));
}

#[tokio::test]
async fn many_are_followed_at_once() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let authors: Vec<String> = (0..500).map(|n| format!("author{n:03}")).collect();
    let answer = alice.post("/v1/following", &json!({"authors": authors})).await;
    assert_eq!(answer.status / 100, 2, "{}", answer.text);
    assert_eq!(
        users(&alice.walk("/v1/following", 100).await),
        authors.iter().map(String::as_str).collect::<Vec<_>>()
    );
    let too_many: Vec<String> = (0..1001).map(|n| format!("a{n}")).collect();
    let refused = alice.post("/v1/following", &json!({"authors": too_many})).await;
    assert_eq!(refused.status / 100, 4, "{}", refused.text);
}

#[tokio::test]
async fn there_is_a_cap() {
    let server = Setup::new().set("graph.follow_cap", 3).start();
    let alice = server.user("alice");
    for n in 0..3 {
        alice.follow(&format!("author{n}")).await;
    }
    alice.put("/v1/following/author3").await.refused(422, "validation_failed");
    alice.follow("author1").await;
    let _ = alice.delete("/v1/following/author1").await.expect(204);
    alice.follow("author3").await;
}

#[tokio::test]
async fn history_is_kept_when_asked() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.follow("bob").await;
    bob.publish("before").await;
    fama_tests::eventually("it arrives", crate::SOON, async || {
        (alice.feed_texts().await.len() == 1).then_some(())
    })
    .await;
    let _ = alice.delete("/v1/following/bob?keep_history=true").await.expect(204);
    bob.publish("after").await;
    assert_eq!(alice.feed_texts().await, ["before"]);
}

#[tokio::test]
async fn nobody_follows_themselves_or_nonsense() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    assert_eq!(alice.put("/v1/following/alice").await.status / 100, 4);
    for bad in ["a%20b", "*", "%00", "a%2Fb", &"x".repeat(65)] {
        alice.put(&format!("/v1/following/{bad}")).await.refused(400, "bad_request");
    }
    for good in ["a:b", "x@y.z", "A_b-C", &"x".repeat(64)] {
        alice.follow(good).await;
    }
}
