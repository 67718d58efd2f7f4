use super::*;
use proptest::prelude::*;

fn look(head: &str) -> Head {
    let origins = ["https://app.example.com".to_owned()];
    inspect(head.as_bytes(), Rules { allowed_origins: &origins, draining: false, echo: false })
}

fn status(head: &str) -> u16 {
    match look(head) {
        Head::Refuse(refusal) => {
            assert!(refusal.response().contains("Connection: close"));
            refusal.status
        }
        Head::Http => 200,
        Head::WebSocket(_) => 101,
        Head::Incomplete => 0,
    }
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake with fields replaced (`Some`) or left out (`None`), or added behind.
fn upgrade(change: &[(&str, Option<&str>)], more: &str) -> String {
    let mut head = String::new();
    for (name, value) in [
        ("request", "GET /connection/websocket HTTP/1.1"),
        ("Host", "h:1"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ] {
        let value = change.iter().find(|(n, _)| *n == name).map_or(Some(value), |(_, v)| *v);
        match value {
            Some(value) if name == "request" => head.extend([value, "\r\n"]),
            Some(value) => head.extend([name, ": ", value, "\r\n"]),
            None => {}
        }
    }
    head + more + "\r\n"
}

#[test]
fn handshakes() {
    let Head::WebSocket(accepted) = look(&(upgrade(&[], "") + "frames")) else { panic!("refused") };
    assert_eq!(accepted.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!((accepted.head_len, accepted.subprotocol), (upgrade(&[], "").len(), None));
    assert!(accepted.response().ends_with("\r\n\r\n"));
    let offered = "Sec-WebSocket-Protocol: other, centrifuge-json\r\n";
    let Head::WebSocket(accepted) = look(&upgrade(&[], offered)) else { panic!("refused") };
    assert_eq!(accepted.subprotocol, Some("centrifuge-json"));
    let query = [("request", Some("GET /connection/websocket?a=1&cf_ws_frame_ping_pong=true HTTP/1.1"))];
    assert!(matches!(look(&upgrade(&query, "")), Head::WebSocket(Upgrade { frame_ping: true, .. })));
    for (want, change, more) in [
        (426, vec![("Sec-WebSocket-Version", Some("8"))], ""),
        (426, vec![("Upgrade", None)], ""),
        (400, vec![("Sec-WebSocket-Key", None)], ""),
        (400, vec![("Sec-WebSocket-Key", Some("short"))], ""),
        (400, vec![], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        (400, vec![("Host", None)], ""),
        (400, vec![], "Host: h:1\r\n"),
        (400, vec![("Host", Some("a/b"))], ""),
        (405, vec![("request", Some("POST /connection/websocket HTTP/1.1"))], ""),
        (400, vec![("request", Some("GET /connection/websocket HTTP/1.0"))], ""),
        (400, vec![("Connection", Some("close"))], ""),
        (400, vec![], "Content-Length: 5\r\n"),
        (200, vec![("request", Some("GET /connection/websocketx HTTP/1.1"))], ""),
        (200, vec![("request", Some("GET /connection/echo HTTP/1.1"))], ""),
    ] {
        assert_eq!(status(&upgrade(&change, more)), want, "{change:?} {more:?}");
    }
}

#[test]
fn origins_are_exact() {
    for (origin, want) in [
        ("http://h:1", 101),
        ("https://h:1", 101),
        ("https://app.example.com", 101),
        ("http://app.example.com", 403),
        ("https://app.example.com.evil", 403),
        ("https://app.example.com:8443", 403),
        ("https://APP.example.com", 403),
        ("https://app.example.com.", 403),
        ("https://user@app.example.com", 403),
        ("http://h:12", 403),
        ("null", 403),
        ("", 403),
    ] {
        assert_eq!(status(&upgrade(&[], &format!("Origin: {origin}\r\n"))), want, "{origin}");
    }
    assert_eq!(status(&upgrade(&[], "Origin: http://h:1\r\nOrigin: http://h:1\r\n")), 403);
}

#[test]
fn sloppy_heads_are_refused() {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    for (head, want) in [
        (get(""), 200),
        (get("Transfer-Encoding: chunked\r\n"), 200),
        (get("Content-Length: 5\r\n"), 200),
        (get("Content-Length: 5\r\nContent-Length: 5\r\n"), 400),
        (get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        (get("Content-Length: +5\r\n"), 400),
        (get("Transfer-Encoding: xchunked\r\n"), 400),
        (get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
        (get("X: a\r\n b\r\n"), 400),
        (get("X : a\r\n"), 400),
        (get("X: a\n"), 400),
        (get("X: a\rb\r\n"), 400),
        (get(&"X: a\r\n".repeat(64)), 431),
        (get(&format!("X: {}\r\n", "a".repeat(MAX_HEAD))), 431),
        ("GET / HTTP/1.1\nHost: h\n\n".to_owned(), 400),
        ("G".repeat(MAX_HEAD), 431),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n".to_owned(), 0),
    ] {
        assert_eq!(status(&head), want, "{head:?}");
    }
}

proptest! {
    /// However a head arrives, the last look at it gives the same, and nothing is said before unless it is an error.
    #[test]
    fn pieces_change_nothing(cut in 0usize..240, garbage in proptest::collection::vec(any::<u8>(), 0..40)) {
        let head = upgrade(&[], "");
        let part = head.get(..cut.min(head.len() - 1)).unwrap();
        prop_assert_eq!(look(part), Head::Incomplete);
        let rules = Rules { allowed_origins: &[], draining: false, echo: true };
        let mut bytes = part.as_bytes().to_vec();
        bytes.extend(garbage);
        let _ = inspect(&bytes, rules);
    }
}
