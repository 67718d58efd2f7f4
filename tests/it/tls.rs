//! TLS on the public address.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fama_tests::eventually;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use fama_tests::token;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

/// Files are looked at every 2 s.
const RELOADED: Duration = Duration::from_secs(10);

/// A certificate of its own root, and its key.
struct Identity {
    cert: CertificateDer<'static>,
    cert_pem: String,
    key_pem: String,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        Self {
            cert: made.cert.der().clone(),
            cert_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    }

    fn write(&self, folder: &Path) {
        std::fs::write(folder.join("key.pem"), &self.key_pem).unwrap();
        std::fs::write(folder.join("cert.pem"), &self.cert_pem).unwrap();
    }

    /// A client that believes this one and no other.
    fn client(&self) -> ClientConfig {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    async fn dial(&self, server: &TestServer) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(server.address()).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(self.client())).connect(name, stream).await
    }

    async fn session(&self, server: &TestServer, user: &str) -> Session {
        let url = format!("wss://{}/connection/websocket", server.address());
        let session = Session::over(&url, self.dial(server).await.unwrap(), &[]).await.unwrap();
        session.command("connect", json!({"token": token::user(user)})).await.unwrap();
        session
    }

    fn rest(&self) -> reqwest::Client {
        reqwest::Client::builder().tls_backend_preconfigured(self.client()).build().unwrap()
    }

    async fn publish(&self, server: &TestServer, user: &str, text: &str) -> reqwest::Response {
        let request = self.rest().post(format!("https://{}/v1/posts", server.address()));
        request.bearer_auth(token::user(user)).json(&json!({"text": text})).send().await.unwrap()
    }
}

fn setup(folder: &TempDir) -> Setup {
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    Setup::new().set("server.tls_cert_file", path("cert.pem")).set("server.tls_key_file", path("key.pem"))
}

fn start() -> (TestServer, TempDir, Identity) {
    let (folder, identity) = (TempDir::new().unwrap(), Identity::new());
    identity.write(folder.path());
    (setup(&folder).start(), folder, identity)
}

#[tokio::test]
async fn requests_and_sockets_are_served() {
    let (server, _folder, identity) = start();
    let session = identity.session(&server, "alice").await;
    // More than one record, and more than one read.
    let text = "ä".repeat(4_000);
    let answer = identity.publish(&server, "alice", &text).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    let event = session.event("post.created", crate::SOON).await;
    assert_eq!(event.body["data"]["post"]["text"], json!(text));
    let url = format!("https://{}/openapi.json", server.address());
    let large = identity.rest().get(url).send().await.unwrap().json::<Value>().await.unwrap();
    assert!(large["paths"].as_object().is_some_and(|paths| paths.len() > 20), "a long answer is whole");
    assert_eq!(session.violations(), Vec::<String>::new());
    let stream = identity.dial(&server).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn who_reads_late_gets_all() {
    let (server, _folder, identity) = start();
    let mut stream = identity.dial(&server).await.unwrap();
    // Answers to pipelined requests fill all buffers before the first is read.
    let request = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(30);
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    // Ends without an error: the server said goodbye before it closed.
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count(), 31);
}

#[tokio::test]
async fn a_socket_that_blocks_loses_nothing() {
    let (folder, identity) = (TempDir::new().unwrap(), Identity::new());
    identity.write(folder.path());
    let server = setup(&folder).set("server.echo_endpoint", true).start();
    let url = format!("wss://{}/connection/echo", server.address());
    let stream = identity.dial(&server).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    // More than the system's buffers hold: most of it has to wait for the socket.
    let message = |n: usize| Message::text(format!("{n}:{}", "x".repeat(50_000 + n)));
    for n in 0..400 {
        socket.send(message(n)).await.unwrap();
    }
    for n in 0..400 {
        let echoed =
            tokio::time::timeout(crate::SOON, socket.next()).await.expect("it goes on").unwrap().unwrap();
        assert!(echoed == message(n), "message {n} came back changed");
    }
}

#[tokio::test]
async fn plain_http_is_told_to_use_tls() {
    let (server, _folder, identity) = start();
    let answer = server.anonymous().get("/v1/feed").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("https://"), "{}", answer.text);
    // Nonsense ends that connection only.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x00\x05nonsense").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(crate::SOON, stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert_eq!(identity.publish(&server, "alice", "still here").await.status(), 201);
}

#[tokio::test]
async fn what_is_older_than_1_2_is_refused() {
    let (server, _folder, _) = start();
    // A hello of TLS 1.1 without extensions, offering one suite of that time.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(crate::SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
    assert_eq!((answer.first(), answer.get(6)), (Some(&0x15), Some(&70)), "protocol_version: {answer:?}");
}

#[tokio::test]
async fn certificates_are_changed_under_open_sockets() {
    let (server, folder, first) = start();
    let session = first.session(&server, "alice").await;
    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    eventually("the bad file is told", RELOADED, async || {
        server.log().contains("the certificate stays the one before").then_some(())
    })
    .await;
    first.dial(&server).await.expect("the old certificate is still used");
    let second = Identity::new();
    second.write(folder.path());
    eventually("the new certificate is used", RELOADED, async || second.dial(&server).await.ok().map(drop))
        .await;
    first.dial(&server).await.expect_err("the old certificate is gone");
    assert_eq!(second.publish(&server, "alice", "after").await.status(), 201);
    session.event("post.created", crate::SOON).await;
}

#[test]
fn bad_files_stop_the_start() {
    let (folder, identity) = (TempDir::new().unwrap(), Identity::new());
    let server = setup(&folder).stopped();
    let refused = |what: &str, says: &[&str]| {
        let output = server.run(&["check-config"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{what}: it starts");
        assert!(says.iter().all(|part| said.contains(part)), "{what}: {said}");
    };
    refused("no file", &["server.tls_cert_file", "cert.pem", "can't read"]);
    identity.write(folder.path());
    assert!(server.run(&["check-config"]).status.success(), "good files");
    std::fs::write(folder.path().join("key.pem"), Identity::new().key_pem).unwrap();
    refused("another's key", &["server.tls_key_file", "key.pem", "can't be used together"]);
    std::fs::write(folder.path().join("key.pem"), "nonsense").unwrap();
    refused("no key", &["server.tls_key_file", "key.pem", "no private key"]);
    identity.write(folder.path());
    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    refused("no certificate", &["server.tls_cert_file", "cert.pem", "no certificate"]);
    let half = setup(&folder).without("server.tls_key_file").stopped();
    let said = String::from_utf8_lossy(&half.run(&["check-config"]).stderr).into_owned();
    assert!(said.contains("set `server.tls_key_file` too"), "{said}");
}
