//! Tokens as attackers make them, J1–J16 of the security cases: each is tried on the REST interface and on a socket.

mod rows;
mod sets;

use fama_tests::key_server::{KeyServer, set_of};
use fama_tests::keys::Signer;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use fama_tests::token::SECRET;
use serde_json::{Value, json};

use rows::{Keys, Outcome, Row};

/// What became of a token on a socket: connected, an error's code, or a close code.
#[derive(Debug, PartialEq, Eq)]
enum Connected {
    Yes,
    Error(u64),
    Closed(u16),
}

async fn on_socket(server: &TestServer, token: &str) -> Connected {
    let session = Session::raw(&server.ws_url(), &[]).await.expect("the upgrade needs no token");
    match session.command("connect", json!({ "token": token })).await {
        Ok(_) => Connected::Yes,
        Err(refused) if refused.code != 0 => Connected::Error(refused.code),
        Err(_) => Connected::Closed(session.closed(crate::SOON).await.code),
    }
}

async fn try_row(server: &TestServer, row: &Row) -> Result<(), String> {
    let answer = server.anonymous().bearer(&row.token).get("/v1/feed").await;
    let connected = on_socket(server, &row.token).await;
    let (status, socket) = match row.outcome {
        Outcome::Good => (200, Connected::Yes),
        Outcome::Refused => (401, Connected::Closed(3500)),
        Outcome::Expired => (401, Connected::Error(109)),
        Outcome::TooLong => (431, Connected::Closed(1009)),
    };
    let told =
        status != 401 || (answer.error() == "unauthorized" && answer.header("www-authenticate") == "Bearer");
    if answer.status == status && told && connected == socket {
        return Ok(());
    }
    Err(format!(
        "{}: {} {} and {connected:?}, not {status} and {socket:?}",
        row.name, answer.status, answer.text
    ))
}

/// Every row, and all that failed at once.
async fn try_rows(server: &TestServer, rows: &[Row]) {
    let mut failed = Vec::new();
    for row in rows {
        failed.extend(try_row(server, row).await.err());
    }
    assert!(failed.is_empty(), "{} of {} rows:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

#[tokio::test]
async fn the_matrix_of_bad_tokens() {
    let keys = Keys::new();
    let set = KeyServer::start(set_of(&keys.set())).await;
    let lure = KeyServer::start(set_of(&[keys.foreign.jwk(Some("foreign"))])).await;
    let server = Setup::new()
        .set("auth.jwks_url", set.url())
        .set("auth.issuer", rows::ISSUER)
        .set("auth.audience", rows::AUDIENCE)
        .set("log.level", "debug")
        .start();
    let rows = keys.rows(lure.url());
    assert!(rows.len() > 90, "{} rows", rows.len());
    try_rows(&server, &rows).await;
    assert_eq!(lure.fetches(), 0, "J4: an address in a token is not visited");
    assert!(set.fetches() <= 2, "J3: unknown keys cause one fetch a minute, not {}", set.fetches());
    for row in rows.iter().filter(|row| row.token.len() > 100) {
        assert!(!server.log().contains(&row.token), "{} is in the log", row.name);
    }
}

/// A key of a file is pinned to its kind: nothing else signed with it, or with its text as a secret, is believed.
#[tokio::test]
async fn the_public_key_of_a_file() {
    let signers = [Signer::rsa(), Signer::ec(), Signer::ed()];
    for signer in &signers {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        std::fs::write(&path, signer.pem()).expect("the key is written");
        let server = Setup::new().set("auth.public_key_file", path.to_string_lossy().into_owned()).start();
        let claims = rows::claims();
        let name = signer.algorithm();
        let row =
            |what: &str, token, outcome| Row { name: format!("{name} of a file, {what}"), token, outcome };
        let mut rows = vec![
            row("signed", signer.token(None, &claims), Outcome::Good),
            row("signed, with an id", signer.token(Some("any"), &claims), Outcome::Good),
            row("beside the secret", Signer::secret(SECRET).token(None, &claims), Outcome::Good),
            row("PEM as a secret", Signer::secret(signer.pem()).token(None, &claims), Outcome::Refused),
            row(
                "PEM as a secret, trimmed",
                Signer::secret(signer.pem().trim()).token(None, &claims),
                Outcome::Refused,
            ),
            row("DER as a secret", Signer::secret(signer.der()).token(None, &claims), Outcome::Refused),
        ];
        for other in signers.iter().filter(|other| other.algorithm() != name) {
            let header = json!({"alg": name});
            rows.push(row("another kind of key", other.token(None, &claims), Outcome::Refused));
            rows.push(row("another kind's signature", other.token_with(&header, &claims), Outcome::Refused));
        }
        try_rows(&server, &rows).await;
    }
}

/// A file that holds no key that we take is refused at start, with its name.
#[test]
fn files_without_a_public_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    let p384 = Signer::foreign_pem();
    for text in ["", "not a key", &p384, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&path, text).expect("the key is written");
        let server = Setup::new().set("auth.public_key_file", path.to_string_lossy().into_owned()).stopped();
        let output = server.run(&["check-config"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("auth.public_key_file"), "{text:.40}: {said}");
    }
}

/// J14: a token in an address is not one, and is not written to logs.
#[tokio::test]
async fn tokens_in_addresses_are_nothing() {
    let server = Setup::new().set("log.level", "debug").start();
    let token = fama_tests::token::user("alice");
    for name in ["token", "access_token", "jwt", "ticket"] {
        let answer = server.anonymous().get(&format!("/v1/feed?{name}={token}")).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        assert!(!answer.text.contains(&token), "{name} comes back");
        let url = format!("{}?{name}={token}", server.ws_url());
        let session = Session::raw(&url, &[]).await.expect("an upgrade");
        let refused = session.command("connect", json!({})).await.err().map(|refused| refused.code);
        assert_eq!(refused, Some(101), "{name} on a socket");
    }
    let metrics = server.admin().get("/metrics").await.expect(200).text;
    assert!(!server.log().contains(&token) && !metrics.contains(&token));
}

/// J16: what a token says is looked at only after its signature, so that whoever can't sign learns nothing.
#[tokio::test]
async fn a_wrong_signature_hides_the_rest() {
    let server = Setup::new().set("auth.audience", rows::AUDIENCE).start();
    let wrong = Signer::secret("another secret that is 32 bytes or more");
    let ask = async |claims: Value| {
        let answer = server.anonymous().bearer(&wrong.token(None, &claims)).get("/v1/feed").await;
        (answer.status, answer.text)
    };
    let first = ask(rows::claims()).await;
    assert_eq!(first.0, 401);
    for claims in [json!({}), json!({"sub": "*"}), rows::with("exp", json!(1)), rows::with("aud", json!("x"))]
    {
        assert_eq!(ask(claims.clone()).await, first, "{claims}");
    }
}
