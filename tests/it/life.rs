//! The life of the process: starting well or with one clear line, stopping when asked, and at once when asked twice.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use fama_tests::token::user;
use fama_tests::wire::Wire;

/// A request that stops in the middle of its body.
async fn half_a_post(server: &TestServer, length: usize) -> Wire {
    let mut wire = Wire::open(server.address()).await;
    let head = format!(
        "POST /v1/posts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{",
        user("alice")
    );
    wire.write(head.as_bytes()).await;
    wire
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let mut server = Setup::new().set("server.drain_s", 10).start();
    let session = Session::open(&server.ws_url(), "alice").await;
    let body = r#"{"text":"in time"}"#;
    let mut wire = half_a_post(&server, body.len()).await;
    // The request is with the server before the signal is.
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.signal("TERM");
    let closed = session.closed(crate::SOON).await;
    assert_eq!((closed.code, closed.reason.is_empty()), (3001, false), "clients come back after 3001");
    wire.write(&body.as_bytes()[1..]).await;
    let head = wire.head().await;
    assert_eq!(head.status, 201, "{}", head.text);
    let status = tokio::task::spawn_blocking(move || {
        let status = server.wait(Duration::from_secs(12));
        (server, status)
    });
    let (mut server, status) = status.await.expect("it is waited for");
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", server.log());
    server.start();
    assert_eq!(server.user("alice").feed_texts().await, ["in time"]);
    let again = Session::resume(&server.ws_url(), "alice", session.positions()).await;
    let own = &again.hello["subs"]["user:#alice"];
    assert_eq!(own["was_recovering"], true, "{own}");
    let id = server.user("alice").publish("after").await;
    let push = again.event("post.created", crate::SOON).await;
    assert_eq!(push.body["data"]["post"]["id"], serde_json::json!(id));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let mut server = Setup::new().set("server.drain_s", 60).set("server.body_ms", 60_000).start();
        let _session = Session::open(&server.ws_url(), "alice").await;
        let _stalled = half_a_post(&server, 100).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.signal(first);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        server.signal(second);
        let status = server.wait(Duration::from_secs(5)).expect("it ends");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(!status.success() && status.signal().is_none(), "{first}, {second}: {status:?}");
        server.start();
    }
}

/// A client that stalls does not hold up the end for longer than the time given.
#[tokio::test]
async fn the_end_comes_in_time() {
    let mut server = Setup::new().set("server.drain_s", 3).set("server.body_ms", 60_000).start();
    let _stalled = half_a_post(&server, 100).await;
    let _deaf = Wire::websocket(server.address(), "/connection/websocket").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let begun = Instant::now();
    let status = server.terminate(Duration::from_secs(10));
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn development_needs_no_secret() {
    let mut server = Setup::new().without("auth.hmac_secret").argument("--dev").start();
    let token = |server: &TestServer| {
        let made = server.run(&["token", "--user", "alice", "--dev"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).expect("text").trim().to_owned()
    };
    let first = token(&server);
    let _ = server.anonymous().bearer(&first).get("/v1/feed").await.expect(200);
    let path = server.folder().join("data/dev.secret");
    let secret = std::fs::read_to_string(&path).expect("the secret is kept");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode, secret.len()), (0o600, 64), "for nobody else to read");
    assert!(!server.log().contains(&secret), "{}", server.log());
    server.crash();
    let _ = server.anonymous().bearer(&first).get("/v1/feed").await.expect(200);
    assert!(!token(&server).is_empty());
}

/// Without any way to sign in it starts, and says what to do.
#[tokio::test]
async fn a_server_that_nobody_can_enter_says_so() {
    let server = Setup::new().without("auth.hmac_secret").without("auth.api_keys").start();
    let log = server.log();
    for named in ["nobody can sign in", "auth.hmac_secret", "auth.jwks_url", "auth.api_keys", "--dev"] {
        assert!(log.contains(named), "{named}: {log}");
    }
    let answer = server.anonymous().bearer(&user("alice")).get("/v1/feed").await;
    answer.refused(401, "unauthorized");
    let made = server.run(&["token", "--user", "alice"]);
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(!made.status.success() && said.contains("auth.hmac_secret") && said.contains("--dev"), "{said}");
}

/// Starts what can't start: it fails, and the last words are one line for people that has all of `named`.
fn fails_with(server: &TestServer, named: &[&str]) {
    let begun = Instant::now();
    let output = server.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?}: {said}", output.status);
    assert!(begun.elapsed() < Duration::from_secs(20), "it tries for {:?}", begun.elapsed());
    // Logs are JSON.
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let [line] = lines[..] else { panic!("{} lines: {said}", lines.len()) };
    assert!(line.starts_with("fama: ") && !line.contains("panicked"), "{line}");
    for name in named {
        assert!(line.contains(name), "{name}: {line}");
    }
}

#[tokio::test]
async fn what_can_not_start_says_why() {
    let running = TestServer::spawn();
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    for (key, address) in
        [("server.listen", running.address()), ("server.admin_listen", running.admin_address())]
    {
        let other = Setup::new().set(key, address).stopped();
        fails_with(&other, &[key, address, &port(address), "another server"]);
    }
    fails_with(&running, &["data", "in use by another process", "choose another"]);
    let _ = running.user("alice").get("/v1/feed").await.expect(200);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    for path in [file.clone(), file.join("data"), "/proc/fama-data".into()] {
        let path = path.to_string_lossy().into_owned();
        fails_with(&Setup::new().set("storage.path", path.clone()).stopped(), &[&path, "choose another"]);
    }
    let foreign = Setup::new().set("server.listen", "192.0.2.1:0").stopped();
    fails_with(&foreign, &["server.listen", "192.0.2.1"]);
}
