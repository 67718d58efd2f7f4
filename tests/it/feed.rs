//! What a feed has, and when.

use fama_tests::server::{Setup, TestServer};

#[tokio::test]
async fn a_feed_is_the_followed_and_oneself_newest_first() {
    let server = TestServer::spawn();
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|user| server.user(user));
    alice.follow("bob").await;
    alice.follow("carol").await;
    for n in 0..3 {
        for (user, name) in [(&bob, "bob"), (&carol, "carol"), (&dave, "dave"), (&alice, "alice")] {
            user.publish(&format!("{name} {n}")).await;
        }
    }
    let expected =
        ["alice 2", "carol 2", "bob 2", "alice 1", "carol 1", "bob 1", "alice 0", "carol 0", "bob 0"];
    assert_eq!(settled(&alice, 9).await, expected);
    assert_eq!(dave.feed_texts().await, ["dave 2", "dave 1", "dave 0"]);
}

/// Reads until the feed has so many posts: a push is done after the author's answer.
async fn settled(user: &fama_tests::rest::Rest, posts: usize) -> Vec<String> {
    fama_tests::eventually("the feed fills", crate::SOON, async || {
        let texts = user.feed_texts().await;
        (texts.len() == posts).then_some(texts)
    })
    .await
}

#[tokio::test]
async fn one_reads_ones_own_post_at_once() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    for n in 0..20 {
        let text = format!("post {n}");
        alice.publish(&text).await;
        assert_eq!(alice.feed_texts().await[0], text);
    }
}

#[tokio::test]
async fn following_brings_what_was_there_before() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    for n in 0..5 {
        bob.publish(&format!("old {n}")).await;
    }
    alice.publish("mine").await;
    assert_eq!(alice.feed_texts().await, ["mine"]);
    alice.follow("bob").await;
    assert_eq!(alice.feed_texts().await, ["mine", "old 4", "old 3", "old 2", "old 1", "old 0"]);
}

#[tokio::test]
async fn the_very_next_read_knows() {
    let server = TestServer::spawn();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    for author in ["bob", "carol"] {
        alice.follow(author).await;
    }
    let gone = bob.publish("gone").await;
    bob.publish("stays").await;
    let edited = carol.publish("before").await;
    assert_eq!(settled(&alice, 3).await, ["before", "stays", "gone"]);
    let _ = bob.delete(&format!("/v1/posts/{gone}")).await.expect(204);
    assert_eq!(alice.feed_texts().await, ["before", "stays"]);
    let body = serde_json::json!({"text": "after"});
    let _ = carol.patch(&format!("/v1/posts/{edited}"), &body).await.expect(200);
    assert_eq!(alice.feed_texts().await, ["after", "stays"]);
    let _ = alice.put("/v1/mutes/carol").await.expect(204);
    assert_eq!(alice.feed_texts().await, ["stays"]);
    let _ = alice.delete("/v1/mutes/carol").await.expect(204);
    assert_eq!(alice.feed_texts().await, ["after", "stays"]);
    let _ = alice.delete("/v1/following/bob").await.expect(204);
    assert_eq!(alice.feed_texts().await, ["after"]);
    let _ = carol.put("/v1/blocks/alice").await.expect(204);
    assert_eq!(alice.feed_texts().await, Vec::<String>::new());
}

#[tokio::test]
async fn celebrities_are_read_like_everybody() {
    let server = Setup::new().set("fanout.celebrity_up", 3).set("fanout.celebrity_down", 2).start();
    let star = server.user("star");
    for n in 0..5 {
        server.user(&format!("fan{n}")).follow("star").await;
    }
    fama_tests::eventually("star is a celebrity", std::time::Duration::from_secs(20), async || {
        let user = star.get("/v1/users/star").await.expect(200);
        (user.body["delivery"] == "pull").then_some(())
    })
    .await;
    let mut expected = Vec::new();
    for n in 0..8 {
        expected.insert(0, star.publish(&format!("star {n}")).await);
        expected.insert(0, server.user("fan0").publish(&format!("fan {n}")).await);
    }
    let fan = server.user("fan0");
    fama_tests::eventually("every post is there", crate::SOON, async || {
        (fan.feed().await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_feed_outlives_a_crash() {
    let mut server = TestServer::spawn();
    server.user("alice").follow("bob").await;
    let mut expected = Vec::new();
    for round in 0..3 {
        for n in 0..5 {
            expected.insert(0, server.user("bob").publish(&format!("{round} {n}")).await);
        }
        server.crash();
        assert_eq!(server.user("alice").feed().await, expected, "after crash {round}");
    }
}

#[tokio::test]
async fn a_feed_goes_on_below_what_is_kept_ready() {
    let server = Setup::new().set("feed.hot_cap", 20).start();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    for author in ["bob", "carol"] {
        alice.follow(author).await;
    }
    let mut expected = Vec::new();
    for n in 0..70 {
        let author = if n % 3 == 0 { &bob } else { &carol };
        expected.insert(0, author.publish(&format!("{n}")).await);
    }
    fama_tests::eventually("all are there", crate::SOON, async || {
        (alice.feed().await == expected).then_some(())
    })
    .await;
    for limit in [3, 7, 100] {
        let entries = alice.walk("/v1/feed", limit).await;
        let ids: Vec<_> = entries.iter().map(|post| post["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{limit} at a time");
    }
}
