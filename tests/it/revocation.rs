//! Tokens that are not believed any more: by name, by user, at once and after a crash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fama_protocol::UnixMs;
use fama_tests::rest::Rest;
use fama_tests::server::TestServer;
use fama_tests::socket::{Connect, Session};
use fama_tests::token::{self, SECRET, now_s};
use serde_json::{Value, json};

/// Within which a revocation is in force everywhere.
const LIMIT: Duration = Duration::from_secs(5);

fn token_of(user: &str, jti: Option<&str>, issued_s: i64) -> String {
    let mut claims = json!({"sub": user, "exp": now_s() + 3_600, "iat": issued_s});
    if let Some(jti) = jti {
        claims["jti"] = json!(jti);
    }
    token::sign(&claims, SECRET)
}

async fn connect(server: &TestServer, token: &str) -> Result<Session, String> {
    Session::connect(&server.ws_url(), &Connect { token: Some(token.to_owned()), ..Connect::default() }).await
}

fn rest(server: &TestServer, token: &str) -> Rest {
    server.anonymous().bearer(token)
}

async fn revoke(server: &TestServer, what: Value) -> Value {
    server.admin().post("/admin/revoke", &what).await.expect(200).body
}

/// Nothing lets the token in any more.
async fn is_refused(server: &TestServer, token: &str) {
    rest(server, token).get("/v1/feed").await.refused(401, "unauthorized");
    let refused = Session::raw(&server.ws_url(), &[]).await.unwrap();
    let _ = refused.command("connect", json!({"token": token})).await.unwrap_err();
    assert_eq!(refused.closed(LIMIT).await.code, 3500, "the client is not to try again");
}

#[tokio::test]
async fn a_user_is_signed_out_everywhere_and_may_sign_in_again() {
    let mut server = TestServer::spawn();
    let (old, others) = (token_of("alice", None, now_s() - 60), token_of("bob", None, now_s() - 60));
    let undated = token::user("alice");
    let (phone, laptop) = (connect(&server, &old).await.unwrap(), connect(&server, &undated).await.unwrap());
    let bob = connect(&server, &others).await.unwrap();
    let _ = rest(&server, &old).get("/v1/feed").await.expect(200);

    let told = revoke(&server, json!({"user": "alice"})).await;
    assert!(
        told["revoked_at"].is_string() && told["expires_at"].is_string() && told["user"] == "alice",
        "{told}"
    );
    for device in [phone, laptop] {
        assert_eq!(device.closed(LIMIT).await.code, 3005, "the client may come back with a newer token");
    }
    is_refused(&server, &old).await;
    is_refused(&server, &undated).await;
    assert!(bob.is_open());
    let _ = rest(&server, &others).get("/v1/feed").await.expect(200);

    // Times of tokens are whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let new = token_of("alice", None, now_s());
    let _ = rest(&server, &new).get("/v1/feed").await.expect(200);
    assert!(connect(&server, &new).await.is_ok());

    server.crash();
    is_refused(&server, &old).await;
    let _ = rest(&server, &new).get("/v1/feed").await.expect(200);
}

#[tokio::test]
async fn one_token_is_revoked_by_its_name() {
    let mut server = TestServer::spawn();
    let (lost, kept) = (token_of("alice", Some("lost"), now_s()), token_of("alice", Some("kept"), now_s()));
    let (thief, alice) = (connect(&server, &lost).await.unwrap(), connect(&server, &kept).await.unwrap());
    let _ = rest(&server, &lost).get("/v1/feed").await.expect(200);
    revoke(&server, json!({"jti": "lost"})).await;
    assert_eq!(thief.closed(LIMIT).await.code, 3500);
    is_refused(&server, &lost).await;
    assert!(alice.is_open());
    let _ = rest(&server, &kept).get("/v1/feed").await.expect(200);
    drop(alice);
    server.crash();
    is_refused(&server, &lost).await;
    let _ = rest(&server, &kept).get("/v1/feed").await.expect(200);
}

/// A token is taken for five seconds after its end; a revocation that is kept to that end must not be over before.
#[tokio::test]
async fn it_lasts_as_long_as_the_token_is_taken() {
    let server = TestServer::spawn();
    // What is over is looked for every two seconds.
    let end = now_s() + 2;
    let token = token::sign(&json!({"sub": "alice", "exp": end, "jti": "short"}), SECRET);
    let _ = rest(&server, &token).get("/v1/feed").await.expect(200);
    revoke(&server, json!({"jti": "short", "expires_at": UnixMs(u64::try_from(end).unwrap() * 1_000)})).await;
    while now_s() < end + 4 {
        rest(&server, &token).get("/v1/feed").await.refused(401, "unauthorized");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_can_not_be_revoked_is_said() {
    let server = TestServer::spawn();
    let admin = server.admin();
    for (what, status) in [
        (json!({}), 400),
        (json!({"user": "a", "jti": "b"}), 400),
        (json!({"user": "not an id"}), 400),
        (json!({"user": "a", "until": 5}), 400),
        (json!({"user": "a", "expires_at": "2020-01-01T00:00:00.000Z"}), 422),
        (json!({"jti": ""}), 422),
        (json!({"jti": "x".repeat(256)}), 422),
    ] {
        assert_eq!(admin.post("/admin/revoke", &what).await.status, status, "{what}");
    }
    assert_eq!(
        server.service().post("/admin/revoke", &json!({"user": "a"})).await.status,
        404,
        "operators only"
    );
}
