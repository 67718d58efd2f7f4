//! HTTP that stalls, swells or smuggles. P1–P6.

use std::time::{Duration, Instant};

use fama_tests::server::TestServer;
use fama_tests::wire::Wire;

async fn status(server: &TestServer, request: &[u8]) -> u16 {
    let mut wire = Wire::open(server.address()).await;
    wire.write(request).await;
    wire.head().await.status
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let server = TestServer::spawn();
    let begun = Instant::now();
    let mut silent = Wire::open(server.address()).await;
    let mut dribbling = Wire::open(server.address()).await;
    let dribble = async {
        for byte in b"GET /health HTTP/1.1\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            dribbling.write(&[*byte]).await;
            if dribbling.ended(Duration::from_millis(500)).await {
                return;
            }
        }
        panic!("a head that never ends was waited for");
    };
    let (silent_ended, ()) = tokio::join!(silent.ended(Duration::from_secs(15)), dribble);
    assert!(silent_ended, "a silent connection is still open");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    let server = fama_tests::server::Setup::new().set("server.body_ms", 1000).start();
    let token = fama_tests::token::user("alice");
    let head = format!(
        "POST /v1/posts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    assert_eq!(status(&server, head.as_bytes()).await, 408);
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = TestServer::spawn();
    let many: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(
        status(&server, format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).await,
        431
    );
    let long = "a".repeat(500_000);
    assert_eq!(
        status(&server, format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n").as_bytes()).await,
        431
    );
    let uri = "a".repeat(100_000);
    assert!(matches!(
        status(&server, format!("GET /{uri} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await,
        414 | 431
    ));
}

#[tokio::test]
async fn nothing_is_read_in_two_ways() {
    let server = TestServer::spawn();
    let head = "POST /v1/posts HTTP/1.1\r\nHost: x\r\n";
    let bad = [
        ("both lengths", format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("two lengths", format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde")),
        ("a strange coding", format!("{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("a folded header", format!("{head}X: a\r\n b\r\n\r\n")),
        ("a space before the colon", format!("{head}Content-Length : 4\r\n\r\nabcd")),
        ("a length with a sign", format!("{head}Content-Length: +4\r\n\r\nabcd")),
        ("bare line feeds", "GET /health HTTP/1.1\nHost: x\n\n".to_owned()),
        ("no host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("a NUL", "GET /health HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_owned()),
        ("another protocol", "GET /health HTTP/9.9\r\nHost: x\r\n\r\n".to_owned()),
    ];
    for (what, request) in bad {
        let mut wire = Wire::open(server.address()).await;
        wire.write(request.as_bytes()).await;
        let head = wire.head().await;
        assert!(matches!(head.status, 0 | 400 | 501 | 505), "{what}: {}", head.text);
        assert!(wire.ended(Duration::from_secs(5)).await, "{what}: the connection stays open");
    }
}

#[tokio::test]
async fn paths_do_not_climb() {
    let server = fama_tests::server::Setup::new().set("demo.page", true).start();
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/app.js%00",
        "/docs/../../x",
    ] {
        let got = status(&server, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        assert!(matches!(got, 400 | 404), "{path}: {got}");
    }
    assert_eq!(status(&server, b"TRACE /health HTTP/1.1\r\nHost: x\r\n\r\n").await / 100, 4);
}

/// Connections are kept for more requests, and several requests may be sent at once.
#[tokio::test]
async fn requests_may_be_pipelined() {
    let server = TestServer::spawn();
    let mut wire = Wire::open(server.address()).await;
    wire.write(&b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(wire.head().await.status / 100, 2);
    }
}
