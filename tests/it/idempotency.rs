//! The same request twice.

use fama_tests::server::TestServer;
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test]
async fn the_same_request_makes_one_post() {
    let mut server = TestServer::spawn();
    let body = json!({"text": "once"});
    let first = server.user("alice").once("key-1").post("/v1/posts", &body).await.expect(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    for round in 0..2 {
        let alice = server.user("alice");
        let again = alice.once("key-1").post("/v1/posts", &body).await.expect(201);
        assert_eq!(again.body["id"], first.body["id"], "round {round}");
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.header("location"), first.header("location"));
        let other = json!({"text": "something else"});
        alice.once("key-1").post("/v1/posts", &other).await.refused(422, "idempotency_key_reused");
        assert_eq!(alice.feed_texts().await, ["once"]);
        server.crash();
    }
}

#[tokio::test]
async fn keys_belong_to_their_user() {
    let server = TestServer::spawn();
    let body = json!({"text": "x"});
    let of_alice = server.user("alice").once("k").post("/v1/posts", &body).await.expect(201);
    let of_bob = server.user("bob").once("k").post("/v1/posts", &body).await.expect(201);
    assert_ne!(of_alice.body["id"], of_bob.body["id"]);
    assert_eq!(of_bob.header("idempotency-replayed"), "");
}

#[tokio::test]
async fn a_race_makes_one_post() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    for round in 0..3 {
        let body = json!({"text": format!("round {round}")});
        let racer = alice.once(&format!("race {round}").replace(' ', "-"));
        let answers = join_all((0..20).map(|_| racer.post("/v1/posts", &body))).await;
        let made: Vec<_> = answers.iter().filter(|a| a.status == 201).map(|a| a.body["id"].clone()).collect();
        assert!(!made.is_empty() && made.iter().all(|id| *id == made[0]), "{made:?}");
        for answer in answers.iter().filter(|a| a.status != 201) {
            assert_eq!((answer.status, answer.error()), (409, "conflict"), "{}", answer.text);
        }
    }
    assert_eq!(alice.feed().await.len(), 3);
}

#[tokio::test]
async fn keys_have_a_form() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let body = json!({"text": "x"});
    alice.once(&"k".repeat(256)).post("/v1/posts", &body).await.refused(400, "bad_request");
    alice.once("").post("/v1/posts", &body).await.refused(400, "bad_request");
    let _ = alice.once(&"k".repeat(255)).post("/v1/posts", &body).await.expect(201);
}
