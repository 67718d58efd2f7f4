//! Blocks and mutes.

use fama_tests::server::TestServer;
use fama_tests::socket::Session;

#[tokio::test]
async fn a_block_parts_both() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.follow("bob").await;
    bob.follow("alice").await;
    let of_alice = format!("/v1/posts/{}", alice.publish("by alice").await);
    let of_bob = format!("/v1/posts/{}", bob.publish("by bob").await);
    let _ = alice.put("/v1/blocks/bob").await.expect(204);
    for (who, post) in [(&alice, &of_bob), (&bob, &of_alice)] {
        who.get(post).await.refused(404, "not_found");
        who.put(&format!("{post}/reactions/like")).await.refused(404, "not_found");
    }
    assert_eq!(alice.feed_texts().await, ["by alice"]);
    assert_eq!(bob.feed_texts().await, ["by bob"]);
    bob.put("/v1/following/alice").await.refused(403, "forbidden");
    assert!(
        alice.walk("/v1/followers", 10).await.is_empty() && alice.walk("/v1/following", 10).await.is_empty()
    );
    let seen = alice.get("/v1/users/bob").await.expect(200).body;
    assert_eq!(seen["viewer"]["blocked"], true);
    assert_eq!(alice.walk("/v1/blocks", 10).await.len(), 1);
    let _ = alice.delete("/v1/blocks/bob").await.expect(204);
    let _ = bob.get(&of_alice).await.expect(200);
    assert_eq!(bob.feed_texts().await, ["by bob"], "the follow does not come back");
    bob.follow("alice").await;
    assert_eq!(bob.feed_texts().await.len(), 2);
}

#[tokio::test]
async fn a_mute_hides_and_is_not_told() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.follow("bob").await;
    let id = bob.publish("noise").await;
    let _ = alice.put("/v1/mutes/bob").await.expect(204);
    assert_eq!(alice.feed_texts().await, Vec::<String>::new());
    let _ = alice.get(&format!("/v1/posts/{id}")).await.expect(200);
    assert_eq!(alice.get("/v1/users/bob").await.expect(200).body["viewer"]["muted"], true);
    assert_eq!(bob.get("/v1/users/alice").await.expect(200).body["viewer"]["muted"], false);
    assert_eq!(alice.walk("/v1/mutes", 10).await.len(), 1);
}

/// One second after the acknowledgement nothing of the author is pushed, and nothing replayed; places are kept.
#[tokio::test]
async fn nothing_is_pushed_after_a_block_mute_or_unfollow() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let authors = ["bob", "carol", "dave", "erin"];
    for author in authors {
        alice.follow(author).await;
    }
    let session = Session::open(&server.ws_url(), "alice").await;
    for author in authors {
        server.user(author).publish("seen").await;
        session.event("post.created", crate::SOON).await;
    }
    let before = session.positions();
    let _ = alice.put("/v1/blocks/bob").await.expect(204);
    let _ = alice.put("/v1/mutes/carol").await.expect(204);
    let _ = alice.delete("/v1/following/dave").await.expect(204);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for author in authors {
        server.user(author).publish("later").await;
    }
    let last = session.push("the post of erin", crate::SOON, |push| {
        assert!(push.event() != "post.created" || push.body["data"]["post"]["author"] == "erin", "{push:?}");
        push.event() == "post.created"
    });
    last.await;
    assert_eq!(session.violations(), Vec::<String>::new());
    drop(session);
    let again = Session::resume(&server.ws_url(), "alice", before).await;
    let replayed: Vec<_> = again
        .pushes()
        .iter()
        .filter(|p| p.event() == "post.created")
        .map(|p| p.body["data"]["post"]["author"].clone())
        .collect();
    assert_eq!(replayed, ["erin"]);
    assert_eq!(again.violations(), Vec::<String>::new());
}
