//! Key sets that change, and servers of them that fail. Time is set by hand, the set comes over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fama_server::auth::{Authority, Refusal};
use fama_server::config::Auth;
use fama_tests::clock::HandClock;
use fama_tests::key_server::{Answers, KeyServer, set_of};
use fama_tests::keys::Signer;
use fama_tests::token::now_s;
use serde_json::{Value, json};

const REFRESH_S: u64 = 3_600;
const OVERLAP_S: u64 = 600;
/// Fetches that tokens cause are so far apart.
const ASKED_APART_S: u64 = 61;

fn claims() -> Value {
    json!({"sub": "alice", "exp": now_s() + 1_000_000_000})
}

struct World {
    clock: Arc<HandClock>,
    set: KeyServer,
    authority: Arc<Authority>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new(answers: Answers) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let set = KeyServer::start(answers).await;
        let clock = Arc::new(HandClock::default());
        let config = Auth {
            jwks_url: Some(set.url().to_owned()),
            jwks_refresh_s: REFRESH_S,
            jwks_overlap_s: OVERLAP_S,
            ..Auth::default()
        };
        let authority = Arc::new(Authority::new(&config, clock.clone()).expect("a good configuration"));
        let running = Arc::clone(&authority);
        let task = tokio::spawn(async move { running.run().await });
        Self { clock, set, authority, task }
    }

    async fn ask(&self, token: &str) -> Result<(), Refusal> {
        self.authority.token(token).await.map(drop)
    }

    /// Waits until a token is answered so.
    async fn until(&self, token: &str, expected: Result<(), Refusal>) {
        fama_tests::eventually(&format!("{expected:?}"), crate::SOON, async || {
            (self.ask(token).await == expected).then_some(())
        })
        .await;
    }

    /// Lets time pass until the set is fetched once more.
    async fn fetched(&self) {
        let before = self.set.fetches();
        fama_tests::eventually("a fetch", crate::SOON, async || {
            self.clock.pass_s(REFRESH_S);
            (self.set.fetches() > before).then_some(())
        })
        .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn keys_rotate() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let world = World::new(set_of(&[old.jwk(Some("old"))])).await;
    let (first, second) = (old.token(Some("old"), &claims()), new.token(Some("new"), &claims()));
    world.until(&first, Ok(())).await;
    world.clock.pass_s(ASKED_APART_S);
    world.set.answer(set_of(&[new.jwk(Some("new"))]));
    assert_eq!(world.ask(&second).await, Ok(()), "an unknown key is fetched while the token waits");
    assert_eq!(world.ask(&first).await, Ok(()), "the old key is believed a little longer");
    // From here on the server can't be reached: what is known stays, what has retired goes all the same.
    world.set.answer(Answers::HangsUp);
    world.clock.pass_s(OVERLAP_S - 5);
    assert_eq!(world.ask(&first).await, Ok(()));
    world.clock.pass_s(10);
    world.until(&first, Err(Refusal::UnknownKey)).await;
    assert_eq!(world.ask(&second).await, Ok(()));
}

#[tokio::test]
async fn unknown_ids_do_not_storm() {
    let key = Signer::ed();
    let world = World::new(set_of(&[key.jwk(Some("a"))])).await;
    world.until(&key.token(Some("a"), &claims()), Ok(())).await;
    world.clock.pass_s(ASKED_APART_S);
    // That first token may have asked for one more.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = world.set.fetches();
    let begun = Instant::now();
    let ask = async |n: usize| world.ask(&key.token(Some(&format!("unknown-{n}")), &claims())).await;
    for refused in futures_util::future::join_all((0..300).map(ask)).await {
        assert_eq!(refused, Err(Refusal::UnknownKey));
    }
    for n in 300..600 {
        assert_eq!(ask(n).await, Err(Refusal::UnknownKey));
    }
    assert_eq!(world.set.fetches(), before + 1, "one fetch for all of them");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_fails_takes_no_key_away() {
    let key = Signer::rsa();
    let world = World::new(set_of(&[key.jwk(Some("a"))])).await;
    let token = key.token(Some("a"), &claims());
    world.until(&token, Ok(())).await;
    let elsewhere = KeyServer::start(set_of(&[Signer::ec().jwk(Some("b"))])).await;
    let garbage =
        ["", "{", "null", "{}", "{\"keys\":5}", "{\"keys\":[]}", "{\"keys\":[5,null,{}]}", "<html>"];
    let mut bad: Vec<Answers> = garbage.map(|text| Answers::Body(text.to_owned())).into();
    bad.extend([
        Answers::Status(500),
        Answers::Status(404),
        Answers::HangsUp,
        Answers::Endless,
        Answers::Stalls,
    ]);
    bad.push(Answers::Redirect(elsewhere.url().to_owned()));
    for answers in bad {
        let what = format!("{answers:.60?}");
        world.set.answer(answers);
        world.fetched().await;
        // The fetch may not be over yet; it must not matter.
        assert_eq!(world.ask(&token).await, Ok(()), "{what}");
        let other = key.token(Some(&what), &claims());
        assert_eq!(world.ask(&other).await, Err(Refusal::UnknownKey), "{what}");
        assert_eq!(world.ask(&token).await, Ok(()), "{what}");
    }
    assert_eq!(elsewhere.fetches(), 0, "the set is where the configuration says");
    // What the system buffers on the way, besides what is read.
    assert!(world.set.written() < 16 << 20, "{} bytes of an endless set", world.set.written());
    let new = Signer::ec();
    world.set.answer(set_of(&[key.jwk(Some("a")), new.jwk(Some("b"))]));
    world.fetched().await;
    world.until(&new.token(Some("b"), &claims()), Ok(())).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet() {
    let key = Signer::ec();
    let world = World::new(Answers::Status(503)).await;
    let token = key.token(Some("a"), &claims());
    assert_eq!(world.ask(&token).await, Err(Refusal::KeysUnavailable), "worth another attempt");
    world.set.answer(set_of(&[key.jwk(Some("a"))]));
    world.fetched().await;
    world.until(&token, Ok(())).await;
}

/// Ids belong to a kind of key, and may be missing.
#[tokio::test]
async fn keys_without_an_id_or_with_the_same() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let world =
        World::new(set_of(&[rsa.jwk(None), ec.jwk(None), ed.jwk(Some("x")), rsa.jwk(Some("x"))])).await;
    world.until(&ed.token(Some("x"), &claims()), Ok(())).await;
    assert_eq!(world.ask(&rsa.token(Some("x"), &claims())).await, Ok(()));
    assert_eq!(world.ask(&ec.token(None, &claims())).await, Ok(()));
    // Two fit: which one is meant is not guessed.
    assert_eq!(world.ask(&rsa.token(None, &claims())).await, Err(Refusal::UnknownKey));
    let mut encrypts = ec.jwk(Some("y"));
    encrypts["use"] = json!("enc");
    let mut other = ed.jwk(Some("z"));
    other["alg"] = json!("RS256");
    world.set.answer(set_of(&[rsa.jwk(Some("x")), encrypts, other]));
    world.fetched().await;
    world.until(&ec.token(None, &claims()), Err(Refusal::UnknownKey)).await;
    for (id, key) in [("y", &ec), ("z", &ed)] {
        assert_eq!(world.ask(&key.token(Some(id), &claims())).await, Err(Refusal::UnknownKey), "{id}");
    }
}
