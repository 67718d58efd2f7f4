//! The app's own channels over HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fama_tests::rest::{Answer, Rest};
use fama_tests::server::Setup;
use fama_tests::socket::Session;
use serde_json::{Value, json};

use crate::SOON;

fn setup() -> Setup {
    let all = "allow_presence_for_subscriber = true\nallow_history_for_subscriber = true";
    Setup::new()
        .namespace(&format!("name = 'chat'\nsubscribe = 'user'\npublish = 'user'\nhistory_size = 5\nhistory_ttl_s = 60\npresence = true\n{all}"))
        .namespace("name = 'news'\nsubscribe = 'user'\nhistory_size = 5\nhistory_ttl_s = 60\npresence = true")
        .namespace("name = 'closed'\nsubscribe = 'token'\nhistory_size = 5\nhistory_ttl_s = 60\npresence = true")
        .namespace(&format!("name = 'plain'\nsubscribe = 'user'\npresence = true\nallow_publish_for_subscriber = true\n{}", "allow_presence_for_subscriber = true"))
        .namespace("name = 'drop'\npublish = 'user'")
}

fn path(channel: &str, what: &str) -> String {
    let encoded: Vec<String> = channel.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/v1/channels/{}/{what}", encoded.concat())
}

async fn publish(caller: &Rest, channel: &str, data: &Value) -> Answer {
    caller.post(&path(channel, "publications"), &json!({"data": data})).await
}

#[tokio::test]
async fn publications_reach_subscribers_and_are_read_again() {
    let server = setup().start();
    let alice = Session::open(&server.ws_url(), "alice").await;
    for channel in ["chat:a/b#alice", "plain:x"] {
        alice.subscribe(channel, None).await.unwrap();
    }
    let (service, user) = (server.service(), server.user("alice"));
    let mut epoch = Value::Null;
    for n in 1..=7 {
        let caller = if n % 2 == 0 { &user } else { &service };
        let answer = publish(caller, "chat:a/b#alice", &json!({ "n": n })).await.expect(200);
        assert_eq!(answer.body["offset"], n, "{}", answer.text);
        epoch = answer.body["epoch"].clone();
        let push = alice.push("it", SOON, |push| push.channel == "chat:a/b#alice").await;
        assert_eq!((&push.body["data"]["n"], &push.body["offset"]), (&json!(n), &json!(n)));
        let publisher = if n % 2 == 0 { json!("alice") } else { Value::Null };
        assert_eq!(push.body["info"]["user"], publisher, "a service on its own is nobody");
    }
    let kept = |query: String| {
        let at = format!("{}{query}", path("chat:a/b#alice", "publications"));
        let user = &user;
        async move {
            let body = user.get(&at).await.expect(200).body;
            let all = body["data"].as_array().unwrap().iter().map(|it| it["offset"].as_u64().unwrap());
            (all.collect::<Vec<_>>(), body["has_more"].as_bool().unwrap(), body["offset"].clone())
        }
    };
    let epoch = epoch.as_str().unwrap();
    assert_eq!(kept(String::new()).await, (vec![3, 4, 5, 6, 7], false, json!(7)));
    assert_eq!(kept("?limit=2".into()).await, (vec![3, 4], true, json!(7)));
    assert_eq!(kept(format!("?limit=2&since={epoch}:4")).await, (vec![5, 6], true, json!(7)));
    assert_eq!(kept(format!("?since={epoch}:7")).await, (vec![], false, json!(7)));
    assert_eq!(kept("?reverse=true&limit=2".into()).await, (vec![7, 6], true, json!(7)));
    assert_eq!(kept(format!("?reverse=true&since={epoch}:5")).await, (vec![4, 3], false, json!(7)));
    for (since, status) in
        [(format!("{epoch}:1"), 422), (format!("{epoch}:8"), 422), ("1:4".into(), 422), ("x".into(), 400)]
    {
        let at = format!("{}?since={since}", path("chat:a/b#alice", "publications"));
        assert_eq!(user.get(&at).await.status, status, "{since}");
    }

    let answer = publish(&service, "plain:x", &Value::Null).await.expect(200);
    assert_eq!(answer.body, json!({"offset": null, "epoch": null}), "nothing is kept there");
    let push = alice.push("it", SOON, |push| push.channel == "plain:x").await;
    assert_eq!(push.body["data"], Value::Null);
    assert_eq!(alice.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn who_is_there_is_told_over_http() {
    let server = setup().start();
    let (one, two) =
        (Session::open(&server.ws_url(), "alice").await, Session::open(&server.ws_url(), "alice").await);
    for caller in [server.service(), server.user("bob")] {
        let nobody = caller.get(&path("chat:empty", "presence")).await.expect(200);
        assert_eq!(nobody.body, json!({"data": []}));
    }
    for session in [&one, &two] {
        session.subscribe("chat:x", None).await.unwrap();
    }
    for caller in [server.service(), server.user("bob")] {
        let list = caller.get(&path("chat:x", "presence")).await.expect(200);
        let mut clients: Vec<_> = list.body["data"].as_array().unwrap().iter().collect();
        clients.sort_by_key(|member| member["client"].to_string());
        let mut wanted = [&one, &two].map(|it| json!({"user": "alice", "client": it.hello["client"]}));
        wanted.sort_by_key(|member| member["client"].to_string());
        assert_eq!(clients, wanted.iter().collect::<Vec<_>>());
        let count = caller.get(&path("chat:x", "presence_stats")).await.expect(200);
        assert_eq!(count.body, json!({"num_clients": 2, "num_users": 1}));
    }
}

#[tokio::test]
async fn users_do_what_their_namespace_allows() {
    let server = setup().start();
    // Publishing, what was kept, who is there.
    for (channel, user, service) in [
        ("chat:x", [200, 200, 200], [200, 200, 200]),
        ("chat:x#bob", [404, 404, 404], [200, 200, 200]),
        ("news:x", [403, 403, 403], [200, 200, 200]),
        ("closed:x", [404, 404, 404], [200, 200, 200]),
        ("plain:x", [200, 403, 200], [200, 404, 200]),
        ("drop:x", [200, 404, 404], [200, 404, 404]),
        ("bare", [404, 404, 404], [200, 404, 404]),
        ("nowhere:x", [404, 404, 404], [404, 404, 404]),
        ("user:#alice", [403, 403, 403], [403, 403, 403]),
        ("author:alice", [403, 403, 403], [403, 403, 403]),
        ("presence:alice", [403, 403, 403], [403, 403, 403]),
    ] {
        for (name, caller, wanted) in
            [("a user", server.user("alice"), user), ("a service", server.service(), service)]
        {
            let answers = [
                publish(&caller, channel, &json!(1)).await.status,
                caller.get(&path(channel, "publications")).await.status,
                caller.get(&path(channel, "presence")).await.status,
            ];
            assert_eq!(answers, wanted, "{channel} by {name}");
            assert_eq!(caller.get(&path(channel, "presence_stats")).await.status, wanted[2], "{channel}");
        }
    }
    // What cannot be seen and what is not there are answered alike.
    let alice = server.user("alice");
    let hidden = alice.get(&path("chat:x#bob", "presence")).await;
    assert_eq!(hidden.body, alice.get(&path("nowhere:x", "presence")).await.body);
}

/// N1: a name that means something to what lies behind never gets there.
#[tokio::test]
async fn names_are_checked() {
    let server = setup().start();
    let service = server.service();
    let long = format!("chat:{}", "x".repeat(251));
    let bad = ["a b", "a\r\nb", "a\nb", "a\0b", "\u{e9}", "chat:\u{1f600}", "a\tb", "a\u{7f}", &long];
    for name in bad.into_iter().chain([" ", "user:alice", "author:*", "presence:>"]) {
        publish(&service, name, &json!(1)).await.refused(400, "bad_request");
        for what in ["publications", "presence", "presence_stats"] {
            service.get(&path(name, what)).await.refused(400, "bad_request");
        }
        let body = json!({"channels": [name], "data": 1});
        let answer = service.post("/v1/broadcast", &body).await.expect(200);
        assert_eq!(answer.body["results"], json!([{"error": "bad_request"}]), "{name:?}");
    }
    service.post("/v1/channels//publications", &json!({"data": 1})).await.refused(400, "bad_request");
    service.post("/v1/channels/%ff/publications", &json!({"data": 1})).await.refused(400, "bad_request");
    // Wildcards, dots and prefixes of buses are names like others: only those who subscribed to them hear.
    let names = ["chat:*", "chat:>", "chat:a.*", "chat:a.b.", "chat:$SYS.x", "chat:_INBOX.x", "chat:[a-z]?"];
    let alice = Session::open(&server.ws_url(), "alice").await;
    for name in names {
        alice.subscribe(name, None).await.unwrap();
    }
    let _ = publish(&service, "chat:a.b", &json!("for others")).await.expect(200);
    for name in names {
        let _ = publish(&service, name, &json!(name)).await.expect(200);
    }
    for name in names {
        let push = alice.push(name, SOON, |push| push.kind == "pub").await;
        assert_eq!((push.channel.as_str(), &push.body["data"]), (name, &json!(name)));
    }
}

#[tokio::test]
async fn a_broadcast_tells_of_each_channel() {
    let server = setup().set("limits.user_per_minute", 3).start();
    let alice = Session::open(&server.ws_url(), "alice").await;
    for channel in ["chat:a", "chat:b", "plain:c"] {
        alice.subscribe(channel, None).await.unwrap();
    }
    let channels = ["chat:a", "nowhere:x", "chat:b", "user:#alice", "plain:c"];
    let body = json!({"channels": channels, "data": {"n": 1}});
    let answer = server.service().post("/v1/broadcast", &body).await.expect(200);
    let results = answer.body["results"].as_array().unwrap();
    let errors: Vec<_> = results.iter().map(|result| result["error"].clone()).collect();
    assert_eq!(errors, [Value::Null, json!("not_found"), Value::Null, json!("forbidden"), Value::Null]);
    assert_eq!(
        (&results[0]["offset"], &results[2]["offset"], &results[4]),
        (&json!(1), &json!(1), &json!({}))
    );
    for channel in ["chat:a", "chat:b", "plain:c"] {
        let heard = || alice.pushes().into_iter().any(|push| push.channel == channel);
        while !heard() {
            alice.more().await.expect("open");
        }
    }

    // Users pay for each channel.
    let channels: Vec<_> = (0..5).map(|n| format!("chat:{n}")).collect();
    let bob = server.user("bob");
    let answer = bob.post("/v1/broadcast", &json!({"channels": channels, "data": 1})).await.expect(200);
    let errors = answer.body["results"].as_array().unwrap().iter().map(|it| it["error"].clone());
    let limited = json!("rate_limited");
    let wanted = [Value::Null, Value::Null, Value::Null, limited.clone(), limited];
    assert_eq!(errors.collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn bounds_are_told() {
    let server = setup().set("server.body_bytes", 1 << 20).start();
    let service = server.service();
    let text = |len: usize| json!("x".repeat(len));
    let _ = publish(&service, "chat:x", &text(60 * 1024 - 2)).await.expect(200);
    publish(&service, "chat:x", &text(60 * 1024 - 1)).await.refused(422, "validation_failed");
    publish(&service, "chat:x", &text(1 << 20)).await.refused(413, "payload_too_large");
    let deep = (0..65).fold(json!(1), |inner, _| json!([inner]));
    publish(&service, "chat:x", &deep).await.refused(422, "validation_failed");
    let channels = |count: usize| (0..count).map(|n| format!("chat:{n}")).collect::<Vec<_>>();
    let broadcast = async |channels: Vec<String>| {
        service.post("/v1/broadcast", &json!({"channels": channels, "data": 1})).await
    };
    let answer = broadcast(channels(1_000)).await.expect(200);
    assert!(answer.body["results"].as_array().unwrap().iter().all(|result| result["offset"] == 1));
    for refused in [channels(1_001), Vec::new(), vec!["chat:a".into(), "chat:b".into(), "chat:a".into()]] {
        broadcast(refused).await.refused(422, "validation_failed");
    }
    let at = path("chat:x", "publications");
    for body in [json!({}), json!({"data": 1, "info": 1}), json!("x")] {
        service.post(&at, &body).await.refused(400, "bad_request");
    }
    for query in ["?limit=0", "?limit=101", "?since=", "?since=a:-1", "?since=:1", "?after=1", "?reverse=1"] {
        service.get(&format!("{at}{query}")).await.refused(400, "bad_request");
    }
    server.anonymous().get(&at).await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_repeated_request_publishes_once() {
    let server = setup().start();
    let once = server.service().once("k1");
    let first = publish(&once, "chat:x", &json!(1)).await.expect(200);
    let again = publish(&once, "chat:x", &json!(1)).await.expect(200);
    assert_eq!((first.body, again.header("idempotency-replayed")), (again.body.clone(), "true"));
    publish(&once, "chat:y", &json!(1)).await.refused(422, "idempotency_key_reused");
    publish(&once, "chat:x", &json!(2)).await.refused(422, "idempotency_key_reused");
    let all = server.service().get(&path("chat:x", "publications")).await.expect(200);
    assert_eq!(all.body["data"].as_array().unwrap().len(), 1);

    let body = json!({"channels": ["chat:x", "chat:z"], "data": 1});
    let first = once.post("/v1/broadcast", &body).await.expect(200);
    assert_eq!(first.body["results"][0]["offset"], 2, "another route");
    let again = once.post("/v1/broadcast", &body).await.expect(200);
    assert_eq!((&first.body, again.header("idempotency-replayed")), (&again.body, "true"));
}

#[tokio::test]
async fn apps_do_not_meet() {
    let server = setup().start();
    let token = |app: &str| {
        let claims =
            json!({"sub": "s", "app": app, "role": "service", "exp": fama_tests::token::now_s() + 60});
        server.anonymous().bearer(&fama_tests::token::sign(&claims, fama_tests::token::SECRET))
    };
    let _ = publish(&token("one"), "chat:x", &json!(1)).await.expect(200);
    let other = token("two").get(&path("chat:x", "publications")).await.expect(200);
    assert_eq!(other.body["data"], json!([]));
}
