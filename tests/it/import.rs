//! `fama import`: into a stopped store, and through a running server.

use fama_tests::server::{Setup, TestServer};
use fama_tests::token::SERVICE_KEY;

use crate::users;

const FOLLOWS: &str = "follower,followee\nalice,bob\nalice,carol\nbob,alice\nalice,bob\n";

fn write(server: &TestServer, name: &str, text: &str) -> String {
    let path = server.folder().join(name);
    std::fs::write(&path, text).expect("the file is written");
    path.to_string_lossy().into_owned()
}

#[track_caller]
fn succeeds(output: &std::process::Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_graph_is_imported_into_a_stopped_store() {
    let mut server = Setup::new().stopped();
    let file = write(&server, "follows.csv", FOLLOWS);
    for _ in 0..2 {
        succeeds(&server.run(&["import", "--follows", &file]));
    }
    server.start();
    let alice = server.user("alice");
    assert_eq!(users(&alice.walk("/v1/following", 10).await), ["bob", "carol"]);
    assert_eq!(users(&alice.walk("/v1/followers", 10).await), ["bob"]);
    assert_eq!(alice.get("/v1/users/bob").await.expect(200).body["followers"], 1);
    // Nobody is notified of the past; what comes now is told behind it.
    server.user("carol").follow("alice").await;
    let told = fama_tests::eventually("a follow", crate::SOON, async || {
        let list = alice.walk("/v1/notifications", 10).await;
        (!list.is_empty()).then_some(list)
    });
    assert_eq!(told.await[0]["actors"], serde_json::json!(["carol"]));
}

#[tokio::test]
async fn a_graph_is_imported_through_a_running_server() {
    let server = TestServer::spawn();
    server.user("bob").publish("hello").await;
    let file = write(&server, "follows.csv", FOLLOWS);
    succeeds(&server.run(&["import", "--follows", &file, "--url", &server.url(), "--api-key", SERVICE_KEY]));
    assert_eq!(users(&server.user("alice").walk("/v1/following", 10).await), ["bob", "carol"]);
    assert_eq!(server.user("alice").feed_texts().await, ["hello"]);
}

#[tokio::test]
async fn posts_are_imported() {
    let mut server = Setup::new().stopped();
    let follows = write(&server, "follows.csv", FOLLOWS);
    let posts = write(
        &server,
        "posts.ndjson",
        "{\"author\":\"bob\",\"text\":\"one\"}\n{\"author\":\"carol\",\"text\":\"two\"}\n",
    );
    succeeds(&server.run(&["import", "--follows", &follows]));
    succeeds(&server.run(&["import", "--posts", &posts]));
    server.start();
    let mut texts = server.user("alice").feed_texts().await;
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn a_bad_file_is_refused_with_the_line() {
    let server = Setup::new().stopped();
    let file = write(&server, "bad.csv", "follower,followee\nalice,bob\nalice,c d\n");
    let output = server.run(&["import", "--follows", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("line 3"), "{said}");
    assert!(!server.run(&["import", "--follows", "nowhere.csv"]).status.success());
}
