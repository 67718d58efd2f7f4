//! Publishing, reading, editing, deleting, reacting.

use fama_tests::server::TestServer;
use serde_json::{Value, json};

#[tokio::test]
async fn a_post_is_kept_as_it_was_given() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let body = json!({
        "text": "héllo\n<b>", "kind": "photo", "data": {"deep": [1, 2.5, null, "x"]}, "mentions": ["bob", "carol:2@x.y"],
        "visibility": "followers", "attachments": [{"url": "https://example.com/a.png", "type": "image"}],
    });
    let made = alice.post("/v1/posts", &body).await.expect(201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/posts/{id}"));
    assert!(id.parse::<u64>().unwrap() > 0);
    let read = alice.get(&format!("/v1/posts/{id}")).await.expect(200).body;
    assert_eq!(read, made.body);
    for key in ["text", "kind", "data", "mentions", "visibility", "attachments"] {
        assert_eq!(read[key], body[key], "{key}");
    }
    assert_eq!((read["author"].as_str(), read["rev"].as_u64()), (Some("alice"), Some(1)));
    assert_eq!(read["created_at"], read["updated_at"]);
    let at = read["created_at"].as_str().unwrap();
    assert!(
        at.len() == 24 && at.ends_with('Z') && at.as_bytes()[19] == b'.',
        "RFC 3339 with milliseconds: {at}"
    );
    assert_eq!(read["viewer"]["reactions"], json!([]));
}

#[tokio::test]
async fn ids_of_an_author_grow() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let mut last = 0;
    for n in 0..30 {
        let id: u64 = alice.publish(&format!("post {n}")).await.parse().unwrap();
        assert!(id > last);
        last = id;
    }
}

#[tokio::test]
async fn editing_is_for_the_author() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let id = alice.publish("before").await;
    let path = format!("/v1/posts/{id}");
    bob.patch(&path, &json!({"text": "mine"})).await.refused(403, "forbidden");
    let edited = alice.patch(&path, &json!({"text": "after", "data": {"n": 1}})).await.expect(200).body;
    assert_eq!((edited["text"].as_str(), edited["rev"].as_u64()), (Some("after"), Some(2)));
    assert!(edited["updated_at"].as_str() >= edited["created_at"].as_str());
    assert_eq!(bob.get(&path).await.expect(200).body["text"], "after");
    alice.patch(&path, &json!({"kind": "x"})).await.refused(400, "bad_request");
    alice.patch("/v1/posts/1", &json!({"text": "x"})).await.refused(404, "not_found");
}

#[tokio::test]
async fn deleting_is_for_the_author_and_admins() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let first = format!("/v1/posts/{}", alice.publish("one").await);
    let second = format!("/v1/posts/{}", alice.publish("two").await);
    bob.delete(&first).await.refused(403, "forbidden");
    let _ = alice.delete(&first).await.expect(204);
    alice.get(&first).await.refused(404, "not_found");
    alice.patch(&first, &json!({"text": "x"})).await.refused(404, "not_found");
    let admin = server.anonymous().bearer(&fama_tests::token::role("root", "admin"));
    let _ = admin.delete(&second).await.expect(204);
    assert_eq!(alice.feed().await, Vec::<String>::new());
}

#[tokio::test]
async fn many_posts_are_read_at_once() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let (a, b, c) = (alice.publish("a").await, alice.publish("b").await, alice.publish("c").await);
    let _ = alice.delete(&format!("/v1/posts/{b}")).await.expect(204);
    let read = alice.get(&format!("/v1/posts?ids={c},{b},77,{a}")).await.expect(200);
    assert_eq!(read.ids(), [c, a]);
    let many = (1..=101).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(alice.get(&format!("/v1/posts?ids={many}")).await.status / 100, 4);
    alice.get("/v1/posts?ids=one").await.refused(400, "bad_request");
}

#[tokio::test]
async fn replies_and_reposts_point_to_their_post() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let id = alice.publish("question").await;
    let mut replies = Vec::new();
    for n in 0..3 {
        let reply = json!({"text": format!("answer {n}"), "reply_to": id});
        replies.push(bob.post("/v1/posts", &reply).await.expect(201).body["id"].as_str().unwrap().to_owned());
    }
    let mut listed = alice.get(&format!("/v1/posts/{id}/replies")).await.expect(200).ids();
    listed.sort();
    assert_eq!(listed, replies);
    let repost = bob.post("/v1/posts", &json!({"repost_of": id})).await.expect(201).body;
    assert_eq!((repost["repost_of"].as_str(), &repost["text"]), (Some(&*id), &Value::Null));
    let all = alice.get("/v1/users/bob/posts?limit=10").await.expect(200).ids();
    assert_eq!(all[0], repost["id"].as_str().unwrap());
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn reactions_are_counted_once_a_user() {
    let server = TestServer::spawn();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let id = alice.publish("like me").await;
    let like = format!("/v1/posts/{id}/reactions/like");
    for _ in 0..2 {
        let _ = bob.put(&like).await.expect(204);
    }
    let _ = carol.put(&like).await.expect(204);
    let _ = carol.put(&format!("/v1/posts/{id}/reactions/wow")).await.expect(204);
    let path = format!("/v1/posts/{id}");
    let seen = bob.get(&path).await.expect(200).body;
    assert_eq!(
        (&seen["reactions"], &seen["viewer"]["reactions"]),
        (&json!({"like": 2, "wow": 1}), &json!(["like"]))
    );
    let listed = alice.walk(&format!("{path}/reactions"), 2).await;
    let mut who: Vec<_> = listed.iter().map(|r| format!("{} {}", r["user"], r["kind"])).collect();
    who.sort();
    assert_eq!(who, ["\"bob\" \"like\"", "\"carol\" \"like\"", "\"carol\" \"wow\""]);
    for _ in 0..2 {
        let _ = bob.delete(&like).await.expect(204);
    }
    assert_eq!(alice.get(&path).await.expect(200).body["reactions"], json!({"like": 1, "wow": 1}));
    bob.put("/v1/posts/1/reactions/like").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_follower_only_post_is_for_followers() {
    let server = TestServer::spawn();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    bob.follow("alice").await;
    let made =
        alice.post("/v1/posts", &json!({"text": "secret", "visibility": "followers"})).await.expect(201);
    let path = format!("/v1/posts/{}", made.body["id"].as_str().unwrap());
    let _ = alice.get(&path).await.expect(200);
    let _ = bob.get(&path).await.expect(200);
    carol.get(&path).await.refused(404, "not_found");
    assert_eq!(carol.get("/v1/users/alice/posts").await.expect(200).ids(), Vec::<String>::new());
    assert_eq!(bob.feed_texts().await, ["secret"]);
}
