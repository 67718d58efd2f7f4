//! What is private comes out nowhere: not in logs, metrics or the texts of errors.

use fama_tests::server::Setup;
use fama_tests::socket::{Connect, Session};
use fama_tests::token::{SECRET, SERVICE_KEY, now_s, sign};
use serde_json::json;

/// The one post that succeeds and one that fails; bodies are searched for in logs and metrics alone.
const TEXT: &str = "canary-text-5821";

/// Requests with a canary in every place where one can be, right and wrong ones; sockets too. Then everything that the program wrote is
/// searched, at the level that says most.
#[tokio::test]
async fn canaries_come_out_nowhere() {
    let server =
        Setup::new().set("log.level", "debug").set("server.admin_token", "canary-admin-0471").start();
    let good = sign(&json!({"sub": "alice", "exp": now_s() + 600, "jti": "canary-jti-3318"}), SECRET);
    let forged = sign(&json!({"sub": "alice", "exp": now_s() + 600}), "canary-secret-2207-of-somebody-else");
    let old = sign(&json!({"sub": "alice", "exp": now_s() - 600}), SECRET);
    let (alice, nobody) = (server.anonymous().bearer(&good), server.anonymous());
    let mut answers = Vec::new();

    let cookie = alice.clone().header("cookie", "session=canary-cookie-9920");
    let _ = cookie.get("/v1/feed").await.expect(200);
    answers.push(cookie.get("/v1/posts/none").await);
    let once = alice.once("canary-idempotency-6613");
    let _ = once.post("/v1/posts", &json!({"text": TEXT})).await.expect(201);
    answers.push(once.post("/v1/posts", &json!({"text": "another"})).await);
    let _ = alice.post("/v1/posts", &json!({"text": TEXT, "kind": 1})).await.expect(400);
    answers.push(alice.get("/v1/feed?ticket=canary-query-1174").await);
    answers.push(nobody.get("/v1/feed?token=canary-query-1174&access_token=canary-query-1174").await);
    answers.push(nobody.clone().header("authorization", "Basic canary-basic-4402").get("/v1/feed").await);
    answers.push(nobody.clone().header("authorization", "canary-basic-4402").get("/v1/feed").await);
    answers.push(nobody.clone().header("x-api-key", "canary-key-7756").get("/v1/feed").await);
    answers.push(server.admin().bearer("canary-operator-8804").get("/metrics").await);
    for token in [&forged, &old, &format!("{good}canary")] {
        answers.push(nobody.clone().bearer(token).get("/v1/feed").await);
        let how = Connect { token: Some(token.clone()), ..Connect::default() };
        assert!(Session::connect(&server.ws_url(), &how).await.is_err());
    }
    for answer in &answers {
        assert!((400..500).contains(&answer.status), "{}", answer.text);
    }
    let how = Connect { token: Some(good.clone()), ..Connect::default() };
    let session = Session::connect(&server.ws_url(), &how).await.expect("a good token");
    let operator = server.admin().bearer("canary-admin-0471");
    let _ = operator.post("/admin/revoke", &json!({"jti": "canary-jti-3318"})).await.expect(200);
    assert_eq!(session.closed(crate::SOON).await.code, 3500);

    let metrics = operator.get("/metrics").await.expect(200).text;
    let said: String = answers.iter().map(|answer| answer.text.as_str()).collect();
    let log = server.log();
    assert!(log.contains("an operator revoked tokens"), "the log is there to be searched");
    for secret in ["canary", SECRET, SERVICE_KEY, &good, &forged, &old] {
        for (place, text) in [("the log", &log), ("the metrics", &metrics), ("an error", &said)] {
            assert!(!text.contains(secret), "{secret} is in {place}: {text}");
        }
    }
}
