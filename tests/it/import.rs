//! `fama import`: into a stopped store, and through a running server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer, binary};
use fama_tests::token::SERVICE_KEY;
use futures_util::{StreamExt, stream};
use serde_json::Value;

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

const PEOPLE: usize = 250;
const EACH: usize = 26;

/// People who follow each other in a circle, those of one person far apart in the file.
fn circle() -> String {
    let mut csv = String::from("follower,followee\n");
    for step in 1..=EACH {
        for person in 0..PEOPLE {
            writeln!(csv, "u{person},u{}", (person + step) % PEOPLE).expect("a string grows");
        }
    }
    csv
}

/// `count` posts of 50 authors; with `dated`, each author's lie a day apart.
fn posts(count: usize, dated: bool) -> String {
    let mut lines = String::new();
    for n in 0..count {
        let day = n / 50 % 28 + 1;
        let month = n / 1_400 + 1;
        let at = format!(",\"created_at\":\"2026-{month:02}-{day:02}T12:00:00Z\"");
        let at = if dated { &at } else { "" };
        writeln!(lines, "{{\"author\":\"a{}\",\"text\":\"{n}\"{at}}}", n % 50).expect("a string grows");
    }
    lines
}

/// What each of the 50 authors has, oldest first.
async fn texts(server: &TestServer) -> BTreeMap<usize, Vec<usize>> {
    let rest = Rest::pooled(&server.url()).bearer(&fama_tests::token::user("reader"));
    let read = stream::iter(0..50).map(|author| {
        let rest = rest.clone();
        async move {
            let posts = rest.walk(&format!("/v1/users/a{author}/posts"), 100).await;
            let number = |post: &Value| post["text"].as_str().and_then(|t| t.parse().ok());
            (author, posts.iter().rev().filter_map(number).collect())
        }
    });
    read.buffer_unordered(8).collect().await
}

fn all(count: usize) -> BTreeMap<usize, Vec<usize>> {
    (0..50).map(|author| (author, (author..count).step_by(50).collect())).collect()
}

fn state_of(file: &str) -> PathBuf {
    PathBuf::from(format!("{file}.fama-import"))
}

/// How many lines the import says that it has done, and whether it gave ids to the next ones.
fn progress(file: &str) -> Option<(u64, bool)> {
    let state: Value = serde_json::from_slice(&std::fs::read(state_of(file)).ok()?).ok()?;
    Some((state["line"].as_u64()?, state["ids"].as_array().is_some_and(|ids| !ids.is_empty())))
}

fn begin(server: &TestServer, arguments: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.arg("import").args(arguments).arg("--config").arg(server.config_file());
    command.current_dir(server.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

/// Imports, killed without warning when these many lines are done and the next ones are under way, then again. `ids`: the
/// import gives them out.
fn import_with_kills(server: &TestServer, file: &str, arguments: &[&str], ids: bool, kills: &[u64]) {
    for (round, kill) in kills.iter().enumerate() {
        let mut child = begin(server, arguments);
        let end = Instant::now() + Duration::from_secs(30);
        while progress(file).is_none_or(|(line, given)| line < *kill || given != ids) {
            assert!(Instant::now() < end, "{kill} lines are not done in time");
            assert!(child.try_wait().expect("a child").is_none(), "it ended before {kill} lines");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(15 * (1 + round as u64)));
        child.kill().expect("a child");
        assert!(!child.wait().expect("a child").success(), "it was not killed in time");
    }
    let output = server.run(&[&["import"], arguments].concat());
    succeeds(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("going on behind line"), "{said}");
    assert!(!Path::new(&state_of(file)).exists(), "what is complete leaves nothing behind");
}

async fn is_the_circle(server: &TestServer) {
    let rest = Rest::pooled(&server.url()).bearer(&fama_tests::token::user("reader"));
    let read = stream::iter(0..PEOPLE).map(|person| {
        let rest = rest.clone();
        async move {
            let user = rest.get(&format!("/v1/users/u{person}")).await.expect(200).body;
            (person, user["following"].as_u64(), user["followers"].as_u64())
        }
    });
    let each = Some(EACH as u64);
    let wrong: Vec<_> = read
        .buffer_unordered(8)
        .filter(|(_, a, b)| std::future::ready((*a, *b) != (each, each)))
        .collect()
        .await;
    assert!(wrong.is_empty(), "{wrong:?}");
    let followed = server.user("u0").walk("/v1/following", 10).await;
    let mut expected: Vec<String> = (1..=EACH).map(|n| format!("u{n}")).collect();
    expected.sort();
    assert_eq!(users(&followed), expected);
}

#[tokio::test]
async fn a_killed_import_through_a_server_goes_on() {
    let server = TestServer::spawn();
    let url = server.url();
    let through = ["--url", &url, "--api-key", SERVICE_KEY];
    let file = write(&server, "follows.csv", &circle());
    import_with_kills(&server, &file, &[&["--follows", &file], &through[..]].concat(), false, &[2_000]);
    is_the_circle(&server).await;
    let file = write(&server, "posts.ndjson", &posts(4_400, false));
    import_with_kills(&server, &file, &[&["--posts", &file], &through[..]].concat(), false, &[0, 2_000]);
    assert_eq!(texts(&server).await, all(4_400));
}

#[tokio::test]
async fn a_killed_import_into_a_store_goes_on() {
    let mut server = Setup::new().stopped();
    let file = write(&server, "follows.csv", &circle());
    import_with_kills(&server, &file, &["--follows", &file], false, &[2_000, 4_000]);
    let file = write(&server, "posts.ndjson", &posts(6_300, true));
    import_with_kills(&server, &file, &["--posts", &file], true, &[0, 2_000, 4_000]);
    server.start();
    is_the_circle(&server).await;
    assert_eq!(texts(&server).await, all(6_300));
}

/// A row that can't be imported is named. What came before it is done, and once it is mended the rest is, once.
#[tokio::test]
async fn a_bad_row_loses_nothing() {
    let server = TestServer::spawn();
    let url = server.url();
    let good = posts(2_150, false);
    let import = |text: &str| {
        let file = write(&server, "posts.ndjson", text);
        server.run(&["import", "--posts", &file, "--url", &url, "--api-key", SERVICE_KEY])
    };
    for (line, bad) in [
        (30, "{\"author\":\"a29\",\"text\":\"29\",\"reply_to\":\"7\"}"),
        (2_050, "{\"author\":\"a49\",\"txet\":\"2049\"}"),
        (2_100, "\u{7f}"),
        (2_120, "{\"author\":\"a19\",\"text\":\"2119\",\"created_at\":\"2026-01-01T00:00:00Z\"}"),
    ] {
        let mut lines: Vec<&str> = good.lines().collect();
        lines[line - 1] = bad;
        let output = import(&lines.join("\n"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "line {line}");
        assert!(said.contains(&format!("posts.ndjson: line {line}: ")), "line {line}: {said}");
    }
    let output = import(&good);
    succeeds(&output);
    assert_eq!(texts(&server).await, all(2_150));
    // Where no terminal is, it says so in plain lines.
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.lines().any(|line| line.starts_with("posts: ") && line.contains(" imported in ")), "{said}");
    assert!(!said.contains(['\u{1b}', '\r']), "{said:?}");
}

/// The server's refusals and its absence are told, with what can be done.
#[test]
fn what_an_import_can_not_use_is_said() {
    let server = Setup::new().stopped();
    let file = write(&server, "follows.csv", FOLLOWS);
    for (arguments, named) in [
        (vec!["--follows", &file, "--url", "http://127.0.0.1:9"], "--api-key"),
        (vec!["--follows", &file, "--api-key", "x"], "--url"),
        (vec![], "--follows"),
    ] {
        let output = server.run(&[&["import"], &arguments[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(named), "{arguments:?}: {said}");
    }
    let running = TestServer::spawn();
    let url = running.url();
    let output = running.run(&["import", "--follows", &file, "--url", &url, "--api-key", "wrong"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("401") && said.contains("API key"), "{said}");
    let output = running.run(&["import", "--follows", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("--url"), "{said}");
}
