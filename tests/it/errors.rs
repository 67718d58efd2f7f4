//! What is wrong with a request is said, with the right status.

use fama_tests::server::TestServer;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn bodies_are_checked() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let malformed = [
        json!({"text": 5}),
        json!({"text": "x", "author": "bob"}),
        json!({"text": "x", "created_at": "2026-01-01T00:00:00.000Z"}),
        json!({"text": "x", "visibility": "friends"}),
        json!({"text": "x", "reply_to": "abc"}),
        json!({"text": "x", "mentions": ["a b"]}),
        json!([1]),
        Value::Null,
    ];
    for body in malformed {
        let answer = alice.post("/v1/posts", &body).await;
        assert_eq!((answer.status, answer.error()), (400, "bad_request"), "{body}: {}", answer.text);
    }
    let out_of_range = [
        (json!({}), ""),
        (json!({"text": "x".repeat(5001)}), "text"),
        (json!({"text": "x", "data": {"x": "y".repeat(16 << 10)}}), "data"),
        (json!({"text": "x", "mentions": vec!["a"; 51]}), "mentions"),
    ];
    for (body, field) in out_of_range {
        let answer = alice.post("/v1/posts", &body).await;
        assert_eq!((answer.status, answer.error()), (422, "validation_failed"), "{}", answer.text);
        assert!(answer.body["details"]["fields"].to_string().contains(field), "{}", answer.text);
    }
    let _ = alice.post("/v1/posts", &json!({"text": "é".repeat(5000)})).await.expect(201);
}

#[tokio::test]
async fn requests_are_checked() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let send =
        async |method, path: &str, body: &[u8]| alice.send(method, path, Some(body.to_vec())).await.unwrap();
    send(Method::POST, "/v1/posts", b"{\"text\":").await.refused(400, "bad_request");
    send(Method::POST, "/v1/posts", b"\xff\xfe").await.refused(400, "bad_request");
    send(Method::POST, "/v1/posts", &vec![b'['; 60_000]).await.refused(400, "bad_request");
    let large = json!({"text": "x", "data": "y".repeat(70_000)}).to_string();
    send(Method::POST, "/v1/posts", large.as_bytes()).await.refused(413, "payload_too_large");
    let plain = alice.clone().header("content-type", "text/plain");
    let answer = plain.send(Method::POST, "/v1/posts", Some(b"{\"text\":\"x\"}".to_vec())).await.unwrap();
    assert_eq!(answer.status, 415, "{}", answer.text);
    assert_eq!(send(Method::DELETE, "/v1/feed", b"").await.status, 405);
    alice.get("/v1/nothing").await.refused(404, "not_found");
    alice.get("/v1/feed?color=red").await.refused(400, "bad_request");
    alice.get("/v1/posts/abc").await.refused(400, "bad_request");
    alice.get("/v1/posts/99999999999999999999999").await.refused(400, "bad_request");
    alice.get("/v1/posts/12345").await.refused(404, "not_found");
}

#[tokio::test]
async fn every_answer_can_be_traced() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let answers = [
        alice.get("/v1/feed").await,
        alice.get("/v1/nothing").await,
        server.anonymous().get("/v1/feed").await,
    ];
    let mut ids: Vec<_> = answers.iter().map(|a| a.header("x-request-id").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == 3 && ids.iter().all(|id| !id.is_empty()), "{ids:?}");
}

#[tokio::test]
async fn origins_are_a_list() {
    let server = fama_tests::server::Setup::new()
        .set("server.allowed_origins", vec!["https://app.example.com"])
        .start();
    let from = |origin: &str| server.user("alice").header("origin", origin);
    let answer = from("https://app.example.com").get("/v1/feed").await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
    assert!(answer.header("vary").to_lowercase().contains("origin"));
    for foreign in ["https://app.example.com.evil", "http://app.example.com", "https://example.com", "null"] {
        let answer = from(foreign).get("/v1/feed").await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{foreign}");
    }
    let asked = from("https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key");
    let answer = asked.send(Method::OPTIONS, "/v1/posts", None).await.unwrap();
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    let allowed = answer.header("access-control-allow-headers").to_lowercase();
    for header in ["authorization", "content-type", "idempotency-key"] {
        assert!(allowed.contains(header), "{allowed}");
    }
}
