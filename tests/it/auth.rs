//! Who is believed.

use fama_tests::server::{Setup, TestServer};
use fama_tests::token::{SECRET, now_s, sign, user_for};
use serde_json::{Value, json};

fn claims() -> Value {
    json!({"sub": "alice", "exp": now_s() + 600})
}

fn with(key: &str, value: Value) -> String {
    let mut claims = claims();
    claims[key] = value;
    sign(&claims, SECRET)
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    let server = TestServer::spawn();
    let _ = server.anonymous().bearer(&sign(&claims(), SECRET)).get("/v1/feed").await.expect(200);
    let good = sign(&claims(), SECRET);
    let body = good.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"} and {"alg":"none"}, unsigned.
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
    let mut without_exp = claims();
    without_exp.as_object_mut().unwrap().remove("exp");
    let mut without_sub = claims();
    without_sub.as_object_mut().unwrap().remove("sub");
    let bad = [
        sign(&claims(), "another secret that is 32 bytes or more"),
        user_for("alice", -10),
        with("nbf", json!(now_s() + 60)),
        with("exp", json!("tomorrow")),
        with("exp", json!(-1)),
        with("sub", json!("a b")),
        with("sub", json!("*")),
        with("sub", json!("")),
        with("role", json!("root")),
        sign(&without_exp, SECRET),
        sign(&without_sub, SECRET),
        unsigned,
        format!("{good}x"),
        "x".repeat(20_000),
        String::new(),
    ];
    for token in bad {
        let answer = server.anonymous().bearer(&token).get("/v1/feed").await;
        let shown = &token[..token.len().min(80)];
        assert!(matches!(answer.status, 401 | 431), "{shown}: {} {}", answer.status, answer.text);
    }
    server.anonymous().get("/v1/feed").await.refused(401, "unauthorized");
    server
        .anonymous()
        .header("authorization", "Basic YTpi")
        .get("/v1/feed")
        .await
        .refused(401, "unauthorized");
    // The leeway of 5 s.
    let _ = server.anonymous().bearer(&user_for("alice", -2)).get("/v1/feed").await.expect(200);
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    let server = Setup::new().set("auth.issuer", "https://id.example").set("auth.audience", "fama").start();
    let ask = async |issuer: Value, audience: Value| {
        let claims = json!({"sub": "alice", "exp": now_s() + 600, "iss": issuer, "aud": audience});
        server.anonymous().bearer(&sign(&claims, SECRET)).get("/v1/feed").await.status
    };
    assert_eq!(ask(json!("https://id.example"), json!("fama")).await, 200);
    assert_eq!(ask(json!("https://id.example"), json!(["other", "fama"])).await, 200);
    assert_eq!(ask(json!("https://evil.example"), json!("fama")).await, 401);
    assert_eq!(ask(json!("https://id.example"), json!("other")).await, 401);
    assert_eq!(ask(Value::Null, Value::Null).await, 401);
}

#[tokio::test]
async fn services_act_for_users_and_users_do_not() {
    let server = TestServer::spawn();
    let service = server.service();
    let id = service.clone().acting_for("alice").publish("by the service").await;
    assert_eq!(service.get(&format!("/v1/posts/{id}")).await.expect(200).body["author"], "alice");
    let answer = server.user("bob").acting_for("alice").get("/v1/feed").await;
    assert!(matches!(answer.status, 400 | 403), "{}", answer.text);
    server.anonymous().header("x-api-key", "wrong").get("/v1/feed").await.refused(401, "unauthorized");
    assert_eq!(service.get("/v1/feed").await.status / 100, 4, "a service without a user has no feed");
    let role = server.anonymous().bearer(&fama_tests::token::role("backend", "service")).acting_for("alice");
    assert_eq!(role.feed_texts().await, ["by the service"]);
}

#[tokio::test]
async fn the_command_line_makes_tokens() {
    let server = TestServer::spawn();
    let made = server.run(&["token", "--user", "alice", "--ttl", "60"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = String::from_utf8(made.stdout).unwrap();
    let _ = server.anonymous().bearer(token.trim()).get("/v1/feed").await.expect(200);
    assert!(!server.run(&["token", "--user", "a b"]).status.success());
}

/// Secrets stay out of what the program writes.
#[tokio::test]
async fn secrets_are_not_logged() {
    let server = Setup::new().set("log.level", "debug").start();
    let token = fama_tests::token::user("alice");
    let alice = server.anonymous().bearer(&token);
    alice.publish("x").await;
    alice.once("canary-key-81723").post("/v1/posts", &json!({"text": 1})).await.refused(400, "bad_request");
    let _ = server.service().acting_for("alice").get("/v1/feed").await.expect(200);
    let session = fama_tests::socket::Session::open(&server.ws_url(), "alice").await;
    drop(session);
    let metrics = server.admin().get("/metrics").await.expect(200).text;
    for secret in [SECRET, &token, fama_tests::token::SERVICE_KEY, "canary-key-81723"] {
        assert!(
            !server.log().contains(secret) && !metrics.contains(secret),
            "{secret} is in the log or the metrics"
        );
    }
}
