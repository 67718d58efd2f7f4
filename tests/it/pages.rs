//! Pages and their cursors.

use fama_tests::server::TestServer;

#[tokio::test]
async fn every_list_ends_and_repeats_nothing() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    for n in 0..25 {
        alice.publish(&format!("{n}")).await;
        server.user(&format!("fan{n:02}")).follow("alice").await;
    }
    for limit in [1, 4, 25, 26, 100] {
        assert_eq!(alice.walk("/v1/feed", limit).await.len(), 25, "feed by {limit}");
        assert_eq!(alice.walk("/v1/users/alice/posts", limit).await.len(), 25, "posts by {limit}");
        let fans = alice.walk("/v1/followers", limit).await;
        let mut names: Vec<_> = fans.iter().map(|f| f["user"].as_str().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((fans.len(), names.len()), (25, 25), "followers by {limit}");
    }
}

#[tokio::test]
async fn a_walk_is_not_disturbed_by_new_posts() {
    let server = TestServer::spawn();
    let alice = server.user("alice");
    let mut before = Vec::new();
    for n in 0..10 {
        before.insert(0, alice.publish(&format!("{n}")).await);
    }
    let first = alice.get("/v1/feed?limit=4").await.expect(200);
    for n in 0..5 {
        alice.publish(&format!("new {n}")).await;
    }
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = alice.get(&format!("/v1/feed?limit=100&cursor={cursor}")).await.expect(200);
    assert_eq!([first.ids(), second.ids()].concat(), before);
}

#[tokio::test]
async fn cursors_are_bound_to_user_and_list() {
    let server = TestServer::spawn();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    for n in 0..5 {
        alice.publish(&format!("{n}")).await;
        bob.publish(&format!("{n}")).await;
    }
    let page = alice.get("/v1/feed?limit=2").await.expect(200);
    let cursor = page.body["next_cursor"].as_str().unwrap().to_owned();
    let _ = alice.get(&format!("/v1/feed?cursor={cursor}")).await.expect(200);
    bob.get(&format!("/v1/feed?cursor={cursor}")).await.refused(400, "bad_request");
    alice.get(&format!("/v1/followers?cursor={cursor}")).await.refused(400, "bad_request");
    alice.get(&format!("/v1/users/alice/posts?cursor={cursor}")).await.refused(400, "bad_request");
    let mut forged = cursor.into_bytes();
    for at in [0, forged.len() / 2, forged.len() - 2] {
        let old = std::mem::replace(&mut forged[at], b'A');
        if old != b'A' {
            let text = String::from_utf8(forged.clone()).unwrap();
            alice.get(&format!("/v1/feed?cursor={text}")).await.refused(400, "bad_request");
        }
        forged[at] = old;
    }
    for limit in ["0", "101", "-1", "x", ""] {
        alice.get(&format!("/v1/feed?limit={limit}")).await.refused(400, "bad_request");
    }
}
