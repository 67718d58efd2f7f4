//! Upgrades that are refused, each with its status. H1–H12.

use fama_tests::server::TestServer;
use fama_tests::wire::{Head, Wire, upgrade};

use crate::PATH;

async fn answer(server: &TestServer, request: &[u8]) -> Head {
    let mut wire = Wire::open(server.address()).await;
    wire.write(request).await;
    wire.head().await
}

async fn with(server: &TestServer, change: &[(&str, Option<&str>)]) -> Head {
    answer(server, &upgrade(PATH, server.address(), change)).await
}

#[tokio::test]
async fn the_key_is_answered() {
    let server = TestServer::spawn();
    let head = with(&server, &[]).await;
    assert_eq!(head.status, 101, "{}", head.text);
    // The example of RFC 6455.
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pplmbitxaq9kygzzhzrbk+xoo="));
    for lenient in [("Connection", Some("keep-alive, Upgrade")), ("Upgrade", Some("WebSocket"))] {
        assert_eq!(with(&server, &[lenient]).await.status, 101, "{lenient:?}");
    }
}

#[tokio::test]
async fn bad_upgrades_are_refused() {
    let server = TestServer::spawn();
    let bad = [
        ("another version", ("Sec-WebSocket-Version", Some("8")), 426),
        ("no version", ("Sec-WebSocket-Version", None), 426),
        ("no key", ("Sec-WebSocket-Key", None), 400),
        ("a short key", ("Sec-WebSocket-Key", Some("short")), 400),
        ("two keys", ("Sec-WebSocket-Key", Some("+dGhlIHNhbXBsZSBub25jZQ==")), 400),
        ("no host", ("Host", None), 400),
        ("two hosts", ("Host", Some("+other")), 400),
        ("a foreign page", ("Origin", Some("https://evil.example")), 403),
        ("a page of nowhere", ("Origin", Some("null")), 403),
    ];
    for (what, change, status) in bad {
        let head = with(&server, &[change]).await;
        assert_eq!(head.status, status, "{what}: {}", head.text);
        if status == 426 {
            assert_eq!(head.header("sec-websocket-version"), Some("13"));
        }
    }
    let no_upgrade = with(&server, &[("Connection", Some("keep-alive"))]).await;
    assert!(matches!(no_upgrade.status, 400 | 426), "{}", no_upgrade.text);
    let post = String::from_utf8(upgrade(PATH, server.address(), &[])).unwrap().replacen("GET", "POST", 1);
    assert!(matches!(answer(&server, post.as_bytes()).await.status, 400 | 405));
    let old =
        String::from_utf8(upgrade(PATH, server.address(), &[])).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    assert!(matches!(answer(&server, old.as_bytes()).await.status, 400 | 426 | 505));
}

#[tokio::test]
async fn only_what_was_offered_is_chosen() {
    let server = TestServer::spawn();
    let head = with(&server, &[("Sec-WebSocket-Protocol", Some("centrifuge-json"))]).await;
    assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, Some("centrifuge-json")));
    let unknown = with(&server, &[("Sec-WebSocket-Protocol", Some("soap"))]).await;
    assert!(matches!(unknown.status, 101 | 400) && unknown.header("sec-websocket-protocol").is_none());
    let offers = "permessage-deflate; client_max_window_bits=7, ".repeat(50) + "permessage-deflate";
    let deflate = with(&server, &[("Sec-WebSocket-Extensions", Some(&offers))]).await;
    assert_eq!((deflate.status, deflate.header("sec-websocket-extensions")), (101, None));
}

/// A request behind a refused upgrade must not be served: a proxy may believe that it is a tunnel now.
#[tokio::test]
async fn nothing_is_smuggled_behind_an_upgrade() {
    let server = TestServer::spawn();
    let mut request = upgrade(PATH, server.address(), &[("Sec-WebSocket-Version", Some("8"))]);
    request.extend(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut wire = Wire::open(server.address()).await;
    wire.write(&request).await;
    assert_eq!(wire.head().await.status, 426);
    assert_eq!(wire.head().await.status, 0, "the connection is closed");
}

/// Frames in the same packet as the request are read, and answered.
#[tokio::test]
async fn frames_may_come_with_the_request() {
    let server = TestServer::spawn();
    let mut request = upgrade(PATH, server.address(), &[]);
    request.extend(fama_tests::wire::frame(0x89, b"early"));
    let mut wire = Wire::open(server.address()).await;
    wire.write(&request).await;
    assert_eq!(wire.head().await.status, 101);
    assert_eq!(wire.frame().await.unwrap().payload, b"early");
}

#[tokio::test]
async fn a_server_that_stops_refuses() {
    let mut server = TestServer::spawn();
    let _held = Wire::websocket(server.address(), PATH).await;
    let address = server.address().to_owned();
    let mut early = Wire::open(&address).await;
    let _ = server.admin().post("/admin/drain", &serde_json::json!({})).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    early.write(&upgrade(PATH, &address, &[])).await;
    let head = early.head().await;
    assert!(head.status == 503 || head.status == 0, "{}", head.text);
    if head.status == 503 {
        assert!(head.header("retry-after").is_some(), "{}", head.text);
    }
    assert!(server.wait(std::time::Duration::from_secs(30)).is_some(), "it ends");
}
