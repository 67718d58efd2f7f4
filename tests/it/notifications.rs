//! The inbox: who is notified, how notifications group, marks on all devices, what the app sends.

use std::time::Duration;

use fama_tests::eventually;
use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use serde_json::{Value, json};

use crate::SOON;

async fn inbox(user: &Rest) -> Vec<Value> {
    user.walk("/v1/notifications", 100).await
}

/// Type and actors of each, from the top.
fn summary(list: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let actors = |one: &Value| {
        let actors = one["actors"].as_array().expect("actors");
        actors.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    list.iter().map(|one| (text(&one["type"]), actors(one))).collect()
}

async fn becomes(user: &Rest, expected: &[(&str, &str)]) -> Vec<Value> {
    let expected: Vec<_> = expected.iter().map(|(kind, actors)| ((*kind).into(), (*actors).into())).collect();
    let what = format!("{expected:?}");
    eventually(&what, SOON, async || {
        let list = inbox(user).await;
        (summary(&list) == expected).then_some(list)
    })
    .await
}

async fn counts(user: &Rest) -> (u64, u64) {
    let body = user.get("/v1/notifications/counts").await.expect(200).body;
    assert_eq!(body["capped"], false);
    (body["unseen"].as_u64().expect("a number"), body["unread"].as_u64().expect("a number"))
}

fn id(notification: &Value) -> &str {
    notification["id"].as_str().expect("an id")
}

#[tokio::test]
async fn every_kind_of_act_notifies_once() {
    let server = TestServer::spawn();
    let [ann, bob, cem] = ["ann", "bob", "cem"].map(|name| server.user(name));
    let _ = bob.put_json("/v1/users/bob", &json!({"name": "Bob B."})).await.expect(200);
    let post = ann.publish("hello").await;
    bob.follow("ann").await;
    becomes(&ann, &[("follow", "bob")]).await;
    let reply = json!({"text": "hi", "reply_to": post, "mentions": ["ann", "cem", "bob"]});
    let reply = bob.post("/v1/posts", &reply).await.expect(201).body["id"].clone();
    becomes(&ann, &[("reply", "bob"), ("follow", "bob")]).await;
    becomes(&cem, &[("mention", "bob")]).await;
    for kind in ["like", "wow"] {
        let _ = cem.put(&format!("/v1/posts/{post}/reactions/{kind}")).await.expect(204);
        let _ = ann.put(&format!("/v1/posts/{post}/reactions/{kind}")).await.expect(204);
    }
    let _ = cem.post("/v1/posts", &json!({"repost_of": post})).await.expect(201);
    let list = eventually("five", SOON, async || {
        let list = inbox(&ann).await;
        (list.len() == 5).then_some(list)
    })
    .await;
    let of = |kind: &str| list.iter().find(|one| one["type"] == kind).expect(kind);
    assert_eq!(of("reply")["subject"], json!({"kind": "post", "id": reply}));
    assert_eq!(of("reply")["text"], "Bob B. replied to you");
    assert_eq!(of("reaction")["subject"], json!({"kind": "post", "id": post}));
    assert_eq!(of("repost")["subject"], json!({"kind": "post", "id": post}));
    assert_eq!((&of("follow")["subject"], &of("follow")["actor_count"]), (&Value::Null, &json!(1)));
    let mut kinds: Vec<_> = list.iter().filter_map(|one| one["data"]["reaction"].as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["like", "wow"]);
    assert_eq!(counts(&ann).await, (5, 5));
    assert_eq!(inbox(&bob).await.len(), 0, "nobody hears of their own acts");
    // Undone, all of them.
    for kind in ["like", "wow"] {
        let _ = cem.delete(&format!("/v1/posts/{post}/reactions/{kind}")).await.expect(204);
    }
    let _ = bob.delete(&format!("/v1/posts/{}", reply.as_str().unwrap())).await.expect(204);
    let _ = bob.delete("/v1/following/ann").await.expect(204);
    becomes(&ann, &[("repost", "cem")]).await;
    becomes(&cem, &[]).await;
}

#[tokio::test]
async fn groups_join_while_unread_and_devices_follow() {
    let server = TestServer::spawn();
    let ann = server.user("ann");
    let post = ann.publish("hello").await;
    let like = format!("/v1/posts/{post}/reactions/like");
    let devices =
        [Session::open(&server.ws_url(), "ann").await, Session::open(&server.ws_url(), "ann").await];
    let _ = server.user("bob").put(&like).await.expect(204);
    let created = devices[0].event("notification.created", SOON).await.body["data"].clone();
    assert_eq!((&created["unseen"], &created["unread"]), (&json!(1), &json!(1)));
    let _ = server.user("cem").put(&like).await.expect(204);
    let updated = devices[1].event("notification.updated", SOON).await.body["data"]["notification"].clone();
    assert_eq!((&updated["id"], &updated["actor_count"]), (&created["notification"]["id"], &json!(2)));
    assert_eq!(updated["actors"], json!(["cem", "bob"]));
    // One device reads, both hear of it.
    let top = json!({"up_to": updated["id"]});
    let after = ann.post("/v1/notifications/seen", &top).await.expect(200).body;
    assert_eq!(after, json!({"unseen": 0, "unread": 1, "capped": false}));
    let after = ann.post("/v1/notifications/read", &top).await.expect(200).body;
    assert_eq!(after, json!({"unseen": 0, "unread": 0, "capped": false}));
    for device in &devices {
        let unread = |push: &fama_tests::socket::Push| {
            push.event() == "inbox.marked" && push.body["data"]["unread"] == 0
        };
        let marked = device.push("read everywhere", SOON, unread).await.body["data"].clone();
        assert_eq!((&marked["unseen"], marked["read_up_to"].is_string()), (&json!(0), true));
    }
    let before = devices[0].positions();
    drop(devices);
    let _ = server.user("dora").put(&like).await.expect(204);
    becomes(&ann, &[("reaction", "dora"), ("reaction", "cem bob")]).await;
    let _ = server.user("dora").delete(&like).await.expect(204);
    let list = becomes(&ann, &[("reaction", "cem bob")]).await;
    let body = json!({"ids": [id(&list[0])]});
    let after = ann.post("/v1/notifications/unread", &body).await.expect(200).body;
    assert_eq!(after, json!({"unseen": 0, "unread": 1, "capped": false}));
    assert_eq!(ann.walk("/v1/notifications?unread=true", 10).await.len(), 1);
    // A replay shows the inbox as it is now.
    let again = Session::resume(&server.ws_url(), "ann", before).await;
    let types: Vec<_> = again.pushes().iter().map(|push| push.event().to_owned()).collect();
    assert_eq!(types[0], "notification.deleted", "{types:?}");
    assert!(types.contains(&"inbox.marked".to_owned()), "{types:?}");
    assert_eq!(again.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn lists_page_and_archived_ones_stay_away() {
    let server = TestServer::spawn();
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    for number in 0..7 {
        let body = json!({"text": format!("{number}"), "mentions": ["ann"]});
        let _ = bob.post("/v1/posts", &body).await.expect(201);
    }
    let list = becomes(&ann, &[("mention", "bob"); 7]).await;
    assert_eq!(ann.walk("/v1/notifications", 3).await, list);
    let page = ann.get("/v1/notifications?limit=3").await.expect(200).body;
    let cursor = page["next_cursor"].as_str().unwrap();
    bob.get(&format!("/v1/notifications?cursor={cursor}")).await.refused(400, "bad_request");
    ann.get(&format!("/v1/notifications?unread=true&cursor={cursor}")).await.refused(400, "bad_request");
    let path = format!("/v1/notifications/{}", id(&list[2]));
    let after = ann.delete(&path).await.expect(200).body;
    assert_eq!(after["unread"], 6);
    assert_eq!(ann.delete(&path).await.expect(200).body, after, "once more");
    bob.delete(&path).await.refused(404, "not_found");
    ann.delete("/v1/notifications/1").await.refused(404, "not_found");
    ann.delete("/v1/notifications/x").await.refused(400, "bad_request");
    let left: Vec<_> = list.iter().filter(|one| id(one) != id(&list[2])).cloned().collect();
    assert_eq!(inbox(&ann).await, left);
    let body = json!({"up_to": id(&list[4])});
    assert_eq!(ann.post("/v1/notifications/read", &body).await.expect(200).body["unread"], 3);
}

#[tokio::test]
async fn blocks_and_mutes_keep_people_out() {
    let server = TestServer::spawn();
    let [ann, bob, cem] = ["ann", "bob", "cem"].map(|name| server.user(name));
    let post = ann.publish("hello").await;
    let like = format!("/v1/posts/{post}/reactions/like");
    let _ = bob.put(&like).await.expect(204);
    becomes(&ann, &[("reaction", "bob")]).await;
    let _ = cem.put(&like).await.expect(204);
    becomes(&ann, &[("reaction", "cem bob")]).await;
    for (user, who) in [(&bob, "bob"), (&cem, "cem")] {
        let _ = user.post("/v1/posts", &json!({"text": "hi", "mentions": ["ann"]})).await.expect(201);
        eventually("a mention", SOON, async || {
            let list = summary(&inbox(&ann).await);
            list.contains(&("mention".to_owned(), who.to_owned())).then_some(())
        })
        .await;
    }
    let _ = ann.put("/v1/mutes/cem").await.expect(204);
    becomes(&ann, &[("mention", "bob"), ("reaction", "bob")]).await;
    let _ = cem.put(&format!("/v1/posts/{post}/reactions/wow")).await.expect(204);
    let _ = ann.put("/v1/blocks/bob").await.expect(204);
    becomes(&ann, &[]).await;
    let secret = json!({"text": "among us", "visibility": "followers", "mentions": ["ann", "bob"]});
    let _ = cem.post("/v1/posts", &secret).await.expect(201);
    bob.follow("cem").await;
    becomes(&cem, &[("follow", "bob")]).await;
    assert_eq!((inbox(&ann).await, inbox(&bob).await), (Vec::new(), Vec::new()), "they can't see the post");
}

#[tokio::test]
async fn the_app_sends_to_users_and_followers() {
    let server = TestServer::spawn();
    let (service, ann, bob) = (server.service(), server.user("ann"), server.user("bob"));
    for (user, author) in [(&ann, "club"), (&bob, "club")] {
        user.follow(author).await;
    }
    let send = async |body: Value| service.post("/v1/notifications", &body).await;
    let code = json!({"recipients": ["ann", "bob", "ann"], "type": "code", "data": {"n": 7}, "dedupe_key": "may", "priority": "urgent"});
    let sent = send(code.clone()).await.expect(202).body;
    assert_eq!((&sent["recipients"], sent["id"].is_string()), (&json!(2), true));
    let list = becomes(&ann, &[("code", "")]).await;
    assert_eq!((&list[0]["data"], &list[0]["actor_count"]), (&json!({"n": 7}), &json!(0)));
    becomes(&bob, &[("code", "")]).await;
    let _ = send(code).await.expect(202);
    let sale =
        json!({"recipients": ["ann", "bob"], "type": "sale", "data": {"off": 10}, "group_key": "sales"});
    let _ = send(sale.clone()).await.expect(202);
    for user in [&ann, &bob] {
        becomes(user, &[("sale", ""), ("code", "")]).await;
    }
    let more = json!({"followers_of": "club", "type": "sale", "data": {"off": 20}, "group_key": "sales", "priority": "bulk"});
    let once = service.once("k1");
    let first = once.post("/v1/notifications", &more).await.expect(202);
    assert_eq!(first.body["recipients"], 2);
    let again = once.post("/v1/notifications", &more).await.expect(202);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    once.post("/v1/notifications", &sale).await.refused(422, "idempotency_key_reused");
    for user in [&ann, &bob] {
        let joined = eventually("the second sale", SOON, async || {
            let list = inbox(user).await;
            (list[0]["data"]["off"] == 20).then_some(list)
        })
        .await;
        assert_eq!(joined.len(), 2, "they are one group, and the code came once");
    }
    let in_2_s = std::time::SystemTime::now() + Duration::from_secs(2);
    let soon: u64 = in_2_s.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    let brief = json!({"recipients": ["ann"], "type": "brief", "expires_at": fama_protocol::UnixMs(soon).to_string()});
    let _ = send(brief).await.expect(202);
    becomes(&ann, &[("brief", ""), ("sale", ""), ("code", "")]).await;
    let session = Session::open(&server.ws_url(), "ann").await;
    becomes(&ann, &[("sale", ""), ("code", "")]).await;
    assert_eq!(counts(&ann).await, (2, 2));
    let marked = session.event("inbox.marked", Duration::from_secs(10)).await;
    assert_eq!(marked.body["data"]["unread"], 2, "devices hear that it has ended");
}

#[tokio::test]
async fn what_is_not_as_described_is_refused() {
    let server = TestServer::spawn();
    let (service, ann) = (server.service(), server.user("ann"));
    ann.post("/v1/notifications", &json!({"recipients": ["bob"], "type": "x"}))
        .await
        .refused(403, "forbidden");
    service.get("/v1/notifications").await.refused(400, "bad_request");
    server.anonymous().get("/v1/notifications").await.refused(401, "unauthorized");
    for wrong in [
        json!({"type": "x"}),
        json!({"recipients": ["a"], "followers_of": "b", "type": "x"}),
        json!({"recipients": ["a"], "type": "X"}),
        json!({"recipients": ["a b"], "type": "x"}),
        json!({"recipients": ["a"], "type": "x", "priority": "low"}),
        json!({"recipients": ["a"], "type": "x", "template": "t"}),
        json!({"recipients": ["a"], "type": "x", "channels": ["email"]}),
        json!({"recipients": ["a"], "type": "x", "expires_at": "tomorrow"}),
    ] {
        service.post("/v1/notifications", &wrong).await.refused(400, "bad_request");
    }
    let many: Vec<String> = (0..1_001).map(|n| format!("u{n}")).collect();
    for wrong in [
        json!({"recipients": [], "type": "x"}),
        json!({"recipients": many, "type": "x"}),
        json!({"recipients": ["a"], "type": "follow"}),
        json!({"recipients": ["a"], "type": "x", "group_key": ""}),
        json!({"recipients": ["a"], "type": "x", "dedupe_key": "a b"}),
        json!({"recipients": ["a"], "type": "x", "expires_at": "2026-01-01T00:00:00Z"}),
        json!({"recipients": ["a"], "type": "x", "data": "x".repeat(17 << 10)}),
    ] {
        service.post("/v1/notifications", &wrong).await.refused(422, "validation_failed");
    }
    for (path, wrong) in [
        ("seen", json!({})),
        ("seen", json!({"up_to": 1})),
        ("seen", json!({"up_to": "-1"})),
        ("read", json!({})),
        ("read", json!({"up_to": "1", "ids": ["1"]})),
        ("unread", json!({"up_to": "1"})),
    ] {
        ann.post(&format!("/v1/notifications/{path}"), &wrong).await.refused(400, "bad_request");
    }
    let ids: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    ann.post("/v1/notifications/read", &json!({"ids": ids})).await.refused(422, "validation_failed");
    for query in ["limit=0", "unread=yes", "seen=true", "cursor=x"] {
        ann.get(&format!("/v1/notifications?{query}")).await.refused(400, "bad_request");
    }
    let _ = ann.post("/v1/notifications/seen", &json!({"up_to": i64::MAX.to_string()})).await.expect(200);
}

/// Killed right after the acts were acknowledged: what they owe is done after the start, once.
#[tokio::test]
async fn a_crash_loses_no_notification() {
    let mut server = TestServer::spawn();
    let post = server.user("ann").publish("hello").await;
    let send = json!({"recipients": ["ann"], "type": "news"});
    let _ = server.service().post("/v1/notifications", &send).await.expect(202);
    for n in 0..20 {
        let user = server.user(&format!("u{n}"));
        let _ = user.put(&format!("/v1/posts/{post}/reactions/like")).await.expect(204);
        let body = json!({"reply_to": post, "text": "hi"});
        let _ = user.post("/v1/posts", &body).await.expect(201);
        user.follow("ann").await;
    }
    server.crash();
    let ann = server.user("ann");
    eventually("all of them", Duration::from_secs(20), async || {
        let list = inbox(&ann).await;
        let count = |kind: &str| list.iter().filter(|one| one["type"] == kind).count();
        let of =
            |kind: &str| list.iter().find(|one| one["type"] == kind).map(|one| one["actor_count"].clone());
        let all =
            count("reply") == 20 && of("reaction") == Some(json!(20)) && of("follow") == Some(json!(20));
        (all && count("news") == 1 && list.len() == 23).then_some(())
    })
    .await;
}

/// A post that goes round the world: its author's devices hear of it at a steady rate, and end with all of it.
#[tokio::test]
async fn devices_are_told_at_a_bounded_rate() {
    let server = Setup::new().start();
    let ann = server.user("ann");
    let post = ann.publish("hello").await;
    let session = Session::open(&server.ws_url(), "ann").await;
    let likes = (0..120).map(|n| {
        let user = server.user(&format!("u{n}"));
        let path = format!("/v1/posts/{post}/reactions/like");
        async move { drop(user.put(&path).await.expect(204)) }
    });
    futures_util::future::join_all(likes).await;
    let last = session.push("all of them", Duration::from_secs(10), |push| {
        push.body["data"]["notification"]["actor_count"] == 120
    });
    last.await;
    let told = session.pushes().iter().filter(|push| push.event().starts_with("notification.")).count();
    assert!((2..60).contains(&told), "told {told} times");
}
