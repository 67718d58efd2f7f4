//! Health, metrics, configuration, stopping.

use std::time::Duration;

use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use serde_json::Value;

#[tokio::test]
async fn health_says_how_it_is() {
    let server = TestServer::spawn();
    let anyone = server.anonymous();
    let health = anyone.get("/health").await.expect(200).body;
    assert_eq!(health["status"], "ok");
    for key in ["store", "cache", "bus", "uptime_s", "version", "connections"] {
        assert_ne!(health[key], Value::Null, "{key}: {health}");
    }
    for probe in ["/health/live", "/health/ready"] {
        assert_eq!(anyone.get(probe).await.status / 100, 2, "{probe}");
    }
    let _session = Session::open(&server.ws_url(), "alice").await;
    assert_eq!(anyone.get("/health").await.expect(200).body["connections"], 1);
}

#[tokio::test]
async fn metrics_are_for_operators() {
    let server = TestServer::spawn();
    server.user("alice").publish("x").await;
    for path in ["/metrics", "/admin/connections", "/admin/drain"] {
        assert_eq!(server.anonymous().get(path).await.status, 404, "{path} on the public address");
    }
    let text = server.admin().get("/metrics").await.expect(200).text;
    assert!(text.lines().any(|l| l.starts_with("# TYPE fama_")), "{text}");
    assert!(!text.contains("alice"), "users are no labels");
    let guarded = Setup::new().set("server.admin_token", "an admin token of the tests").start();
    assert_eq!(guarded.admin().get("/metrics").await.status, 401);
    let _ = guarded.admin().bearer("an admin token of the tests").get("/metrics").await.expect(200);
}

#[tokio::test]
async fn the_api_describes_itself() {
    let server = TestServer::spawn();
    let api = server.anonymous().get("/openapi.json").await.expect(200).body;
    let paths = api["paths"].as_object().expect("paths");
    for path in
        ["/v1/posts", "/v1/posts/{id}", "/v1/feed", "/v1/following/{author}", "/v1/users/{id}", "/health"]
    {
        assert!(paths.contains_key(path), "{path} is missing: {:?}", paths.keys());
    }
    let docs = server.anonymous().get("/docs/").await;
    assert_eq!(docs.status, 200);
    assert!(!docs.text.contains("https://"), "the page fetches nothing from elsewhere: {}", docs.text);
}

#[tokio::test]
async fn it_stops_when_asked() {
    let mut server = Setup::new().set("server.drain_s", 5).start();
    let session = Session::open(&server.ws_url(), "alice").await;
    let id = server.user("alice").publish("kept").await;
    let status = server.terminate(Duration::from_secs(10)).expect("it stops in time");
    assert!(status.success(), "{status:?}");
    assert_eq!(session.closed(crate::SOON).await.code, 3001);
    server.start();
    assert_eq!(server.user("alice").feed().await, [id]);
}

#[test]
fn a_bad_configuration_is_refused_with_the_reason() {
    let refused = [
        ("auth.hmac_secret", "short", "32"),
        ("server.listne", "x", "listne"),
        ("fanout.celebrity_up", "many", "celebrity_up"),
        ("cluster.nats", "nats://127.0.0.1:4222", "cluster"),
        ("server.roles", "gateway", "roles"),
    ];
    for (key, value, named) in refused {
        let server = Setup::new().set(key, value).stopped();
        for command in ["check-config", "serve"] {
            let output = server.run(&[command]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                !output.status.success() && said.contains(named),
                "{command} with {key} = {value}: {said}"
            );
        }
    }
    let fine = Setup::new().stopped();
    assert!(fine.run(&["check-config"]).status.success());
}

#[test]
fn a_folder_has_one_server() {
    let server = TestServer::spawn();
    let output = server.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("data"), "{said}");
}
