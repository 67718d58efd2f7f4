//! Attacks that belong to no resource: headers, forged addresses, log and label injection, floods of subscriptions.

use std::time::Duration;

use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use reqwest::Method;
use serde_json::{Value, json};

/// P16: what every answer carries, an error's too.
#[tokio::test]
async fn answers_say_how_to_treat_them() {
    let server = Setup::new().set("demo.page", true).start();
    let alice = server.user("alice");
    let answers = [
        alice.get("/v1/feed").await,
        alice.get("/v1/nothing").await,
        server.anonymous().get("/v1/feed").await,
        server.anonymous().get("/health").await,
        server.anonymous().get("/openapi.json").await,
        server.anonymous().get("/").await,
        server.anonymous().get("/docs/").await,
    ];
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{n}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{n}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src") && policy.contains("frame-ancestors 'none'"), "{n}: {policy}");
        assert!(!policy.contains("script-src 'unsafe") && !policy.contains("default-src *"), "{n}: {policy}");
        assert_eq!(answer.header("server"), "", "{n}: which server it is concerns nobody");
    }
    for private in &answers[..4] {
        assert_eq!(private.header("cache-control"), "no-store");
    }
}

/// P15: an origin that is not listed learns nothing, and nothing is ever allowed to all.
#[tokio::test]
async fn no_origin_is_guessed() {
    let server = Setup::new().set("server.allowed_origins", vec!["https://app.example.com"]).start();
    let origins = [
        "null",
        "https://app.example.com.",
        "https://app.example.com:443",
        "https://APP.example.com",
        "*",
        "https://a@app.example.com",
    ];
    for origin in origins {
        for method in [Method::GET, Method::OPTIONS] {
            let asked =
                server.user("alice").header("origin", origin).header("access-control-request-method", "POST");
            let answer = asked.send(method.clone(), "/v1/feed", None).await.expect("an answer");
            assert!(
                !answer.headers.keys().any(|name| name.as_str().starts_with("access-control-allow")),
                "{method} from {origin}: {:?}",
                answer.headers
            );
            assert!(answer.header("vary").contains("origin"));
        }
    }
    let asked = server.anonymous().header("origin", "https://app.example.com");
    let answer =
        asked.header("access-control-request-method", "POST").send(Method::OPTIONS, "/v1/posts", None).await;
    let answer = answer.expect("an answer");
    assert!(answer.header("access-control-max-age").parse::<u32>().is_ok_and(|age| age <= 600));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
}

/// P17: the method is the method.
#[tokio::test]
async fn methods_are_not_overridden() {
    let server = TestServer::spawn();
    let id = server.user("alice").publish("stays").await;
    let path = format!("/v1/posts/{id}");
    for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let alice = server.user("alice").header(name, "DELETE");
        assert_eq!(alice.get(&path).await.expect(200).body["text"], "stays");
        assert_eq!(alice.post(&path, &json!({})).await.status, 405, "{name}");
    }
    let _ = server.user("alice").get(&format!("{path}?_method=DELETE")).await.expect(400);
    for method in ["TRACE", "PROPFIND", "BREW"] {
        let method: Method = method.parse().expect("a method");
        let Ok(answer) = server.user("alice").send(method.clone(), &path, None).await else { continue };
        assert!(matches!(answer.status, 400 | 404 | 405 | 501), "{method}: {}", answer.status);
    }
    assert_eq!(server.user("alice").get(&path).await.expect(200).body["text"], "stays");
}

/// R2: an address in a header counts only from a proxy that is trusted, and then only its last untrusted hop.
#[tokio::test]
async fn addresses_are_not_taken_from_strangers() {
    let ask = async |rest: Rest, forwarded: &str| {
        rest.header("x-forwarded-for", forwarded).get("/v1/feed").await.status
    };
    let server = Setup::new().set("limits.address_per_minute", 3).start();
    let hops = vec!["10.9.8.7"; 100].join(", ");
    for (n, forwarded) in ["10.0.0.1", "10.0.0.2", hops.as_str(), "10.0.0.4", "10.0.0.5"].iter().enumerate() {
        let status = ask(server.user("alice"), forwarded).await;
        assert_eq!(status, if n < 3 { 200 } else { 429 }, "{n}");
    }
    let server = Setup::new()
        .set("limits.address_per_minute", 3)
        .set("server.trusted_proxies", vec!["127.0.0.1"])
        .start();
    for n in 0..6 {
        // What stands before the last hop is the client's own invention.
        let status = ask(server.user("alice"), &format!("10.0.0.{n}, 10.1.1.1")).await;
        assert_eq!(status, if n < 3 { 200 } else { 429 }, "{n}");
    }
    assert_eq!(ask(server.user("alice"), "10.1.1.2").await, 200);
}

/// R4 and R5: subscriptions of a connection are counted, and asking for too many ends nothing but the asking.
#[tokio::test]
async fn subscriptions_have_a_bound() {
    let server = Setup::new().namespace("name = 'x'\nsubscribe = 'user'").start();
    let session = Session::open(&server.ws_url(), "alice").await;
    let (mut refused, begun) = (0, std::time::Instant::now());
    for n in 0..133 {
        match session.subscribe(&format!("x:{n}"), None).await {
            Ok(_) => assert!(n < 128, "{n}"),
            Err(error) => {
                refused += 1;
                assert_eq!((error.code, n >= 128), (106, true), "{n}");
            }
        }
    }
    assert_eq!(refused, 5);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "a shard sleeps over its own letters: {:?}",
        begun.elapsed()
    );
    let gone = session.command("unsubscribe", json!({"channel": "x:5"})).await;
    assert!(gone.is_ok(), "{gone:?}");
    assert!(session.subscribe("x:200", None).await.is_ok(), "a place is free");
    let long = session.subscribe(&format!("x:{}", "y".repeat(300)), None).await;
    assert!(long.is_err(), "{long:?}");
}

/// N6: whatever comes in, a log line is one JSON object.
#[tokio::test]
async fn logs_are_one_event_a_line() {
    let server = Setup::new().set("log.level", "trace").start();
    let evil = "a\u{1b}[31m\u{202e}\\n{\"level\":\"ERROR\"}";
    let rest = server.user("alice").header("user-agent", "a\t{\"fake\":1}").header("x-request-id", "a b\tc");
    let _ = rest.post("/v1/posts", &json!({ "text": evil, "kind": evil })).await;
    let _ = rest.get("/v1/posts/%0d%0aERROR%1b[31m").await;
    let _ = rest.get("/v1/users/%0afake").await;
    let session = Session::raw(&server.ws_url(), &[("user-agent".into(), "x\t{}".into())]).await;
    let session = session.expect("an upgrade");
    session.text("{\"id\":1,\"connect\":{\"token\":\"a\\nb\\u001b[31m\",\"name\":\"\\n{\\\"fake\\\":1}\"}}");
    let _ = session.closed(crate::SOON).await;
    let log = server.log();
    let json: Vec<&str> = log.lines().filter(|line| !line.contains(" on http://")).collect();
    assert!(json.len() > 3, "{log}");
    for line in json {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(event.get("fake").is_none() && !line.contains('\u{1b}'), "{line:?}");
    }
}

/// N8: labels are closed sets, whatever is asked for.
#[tokio::test]
async fn strangers_make_no_labels() {
    let server = TestServer::spawn();
    let series = async || {
        let text = server.admin().get("/metrics").await.expect(200).text;
        (text.lines().filter(|line| !line.starts_with('#')).count(), text)
    };
    let ask = async |n: usize| {
        let rest = server.user(&format!("user{n}")).header("user-agent", &format!("agent{n}"));
        let _ = rest.get(&format!("/strange{n}")).await;
        let _ = rest.get(&format!("/v1/strange{n}")).await;
        let _ = rest.get(&format!("/v1/users/canary{n}")).await;
        let _ = rest.get(&format!("/v1/feed?strange{n}=1")).await;
        let method: Method = format!("STRANGE{n}").parse().expect("a method");
        let _ = rest.send(method, "/v1/feed", None).await;
        let channel = format!("strange{n}:x");
        let session = Session::open(&server.ws_url(), &format!("user{n}")).await;
        let _ = session.subscribe(&channel, None).await;
    };
    ask(0).await;
    let (before, _) = series().await;
    for n in 1..40 {
        ask(n).await;
    }
    let (after, text) = series().await;
    assert!(after <= before + 10, "{before} series became {after}");
    for word in ["strange", "STRANGE", "canary", "user3", "agent"] {
        assert!(
            !text.contains(word),
            "{word}: {}",
            text.lines().find(|l| l.contains(word)).unwrap_or_default()
        );
    }
}

/// N11: of fifty at once with one key, one posts; another route and another user have keys of their own.
#[tokio::test]
async fn fifty_at_once_make_one_post() {
    let server = TestServer::spawn();
    let alice = server.user("alice").once("the-key");
    let body = json!({"text": "once"});
    let answers = futures_util::future::join_all((0..50).map(|_| alice.post("/v1/posts", &body))).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty() && made.iter().all(|answer| answer.body["id"] == made[0].body["id"]));
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "201, or 409 while it runs");
    let replays = made.iter().filter(|answer| answer.header("idempotency-replayed") == "true").count();
    assert_eq!(replays, made.len() - 1, "one did it");
    assert_eq!(server.user("alice").feed_texts().await, ["once"]);
    let other =
        server.user("bob").once("the-key").post("/v1/posts", &json!({"text": "bob's"})).await.expect(201);
    assert_eq!(other.header("idempotency-replayed"), "", "keys are a user's own");
    let follows = alice.post("/v1/following", &json!({"authors": ["bob"]})).await.expect(200);
    assert_eq!(follows.header("idempotency-replayed"), "", "and a route's own");
    alice.post("/v1/posts", &json!({"text": "other"})).await.refused(422, "idempotency_key_reused");
}

/// R6: limits of pages are what they are said to be, and cursors nobody else's.
#[tokio::test]
async fn pages_are_bounded() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    for limit in ["0", "101", "-1", "1e2", "99999999999999999999", "", "x"] {
        alice.get(&format!("/v1/feed?limit={limit}")).await.refused(400, "bad_request");
    }
    let long = "A".repeat(6_000);
    for cursor in ["", "x", "AAAA", "%00", &long] {
        alice.get(&format!("/v1/feed?cursor={cursor}")).await.refused(400, "bad_request");
    }
    let ids = vec!["1"; 101].join(",");
    let answer = alice.get(&format!("/v1/posts?ids={ids}")).await;
    assert!(matches!(answer.status, 400 | 422), "{}", answer.text);
    let many = json!({"authors": (0..1_001).map(|n| format!("u{n}")).collect::<Vec<_>>()});
    let answer = alice.post("/v1/following", &many).await;
    assert!(matches!(answer.status, 400 | 422), "{}", answer.text);
}

/// The operator's word on an author: from now on, and until it is taken back.
#[tokio::test]
async fn an_operator_pins_an_author() {
    let server = TestServer::spawn();
    let admin = server.admin();
    server.user("fan").follow("star").await;
    let pinned = admin.put_json("/admin/authors/star", &json!({"mode": "pull"})).await.expect(200).body;
    assert_eq!(
        (&pinned["mode"], &pinned["pinned"], &pinned["followers"]),
        (&json!("pull"), &json!(true), &json!(1))
    );
    let delivery =
        async || server.user("fan").get("/v1/users/star").await.expect(200).body["delivery"].clone();
    let becomes = async |mode: &str| {
        fama_tests::eventually(mode, Duration::from_secs(10), async || {
            (delivery().await == mode).then_some(())
        })
        .await;
    };
    becomes("pull").await;
    server.user("star").publish("to all").await;
    assert_eq!(server.user("fan").feed_texts().await, ["to all"]);
    let back = admin.put_json("/admin/authors/star", &json!({"mode": "push"})).await.expect(200).body;
    assert_eq!(back["pinned"], true);
    becomes("push").await;
    let auto = admin.put_json("/admin/authors/star", &json!({"mode": "auto"})).await.expect(200).body;
    assert_eq!(auto["pinned"], false);
    assert_eq!(server.user("fan").feed_texts().await, ["to all"]);
    for body in [json!({"mode": "sideways"}), json!({}), json!({"mode": "pull", "for": "ever"})] {
        admin.put_json("/admin/authors/star", &body).await.refused(400, "bad_request");
    }
    admin.put_json("/admin/authors/a%20b", &json!({"mode": "pull"})).await.refused(400, "bad_request");
    server
        .user("star")
        .put_json("/admin/authors/star", &json!({"mode": "pull"}))
        .await
        .refused(404, "not_found");
}
