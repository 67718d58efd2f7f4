//! Who may do what, N9: every operation that the running server describes, tried by everybody. An operation without an
//! expectation here fails the test.

use std::collections::{BTreeMap, BTreeSet};

use fama_tests::rest::{Answer, Rest};
use fama_tests::server::{Setup, TestServer};
use fama_tests::token::{role, user_for};
use reqwest::Method;
use serde_json::{Value, json};

/// What each caller is answered. The operation is about `owner`: the author of the post, the user of the path.
struct Expected {
    /// The one whom it is about.
    owner: u16,
    /// Somebody else.
    other: u16,
    /// Somebody whom the owner has blocked.
    blocked: u16,
    /// A service on its own.
    service: u16,
    /// A service that acts for the owner.
    acting: u16,
    /// A moderator.
    admin: u16,
}

/// Needs no credentials, and takes any.
const OPEN: Option<Expected> = None;

#[expect(clippy::unnecessary_wraps, reason = "some operations have none")]
const fn all(owner: u16, other: u16, blocked: u16, service: u16, admin: u16) -> Option<Expected> {
    Some(Expected { owner, other, blocked, service, acting: owner, admin })
}

/// The same, where a service that acts for the owner may more than the owner.
const fn acting(expected: Option<Expected>, acting: u16) -> Option<Expected> {
    match expected {
        Some(expected) => Some(Expected { acting, ..expected }),
        None => None,
    }
}

/// One's own lists: a service has none.
const OWN: Option<Expected> = all(200, 200, 200, 400, 200);

fn expectations() -> BTreeMap<&'static str, Option<Expected>> {
    BTreeMap::from([
        ("GET /health", OPEN),
        ("GET /health/live", OPEN),
        ("GET /health/ready", OPEN),
        ("GET /v1/feed", OWN),
        ("GET /v1/blocks", OWN),
        ("GET /v1/mutes", OWN),
        ("GET /v1/followers", OWN),
        ("GET /v1/following", OWN),
        ("PUT /v1/blocks/{user}", all(422, 204, 204, 400, 204)),
        ("DELETE /v1/blocks/{user}", all(422, 204, 204, 400, 204)),
        ("PUT /v1/mutes/{user}", all(422, 204, 204, 400, 204)),
        ("DELETE /v1/mutes/{user}", all(422, 204, 204, 400, 204)),
        ("PUT /v1/following/{author}", all(422, 204, 403, 400, 204)),
        ("DELETE /v1/following/{author}", all(204, 204, 204, 400, 204)),
        ("POST /v1/following", all(422, 200, 403, 400, 200)),
        ("POST /v1/posts", all(201, 201, 201, 400, 201)),
        ("GET /v1/posts", all(200, 200, 200, 200, 200)),
        ("GET /v1/posts/{id}", all(200, 200, 404, 200, 200)),
        ("PATCH /v1/posts/{id}", all(200, 403, 404, 400, 403)),
        ("DELETE /v1/posts/{id}", all(204, 403, 404, 400, 204)),
        ("GET /v1/posts/{id}/reactions", all(200, 200, 404, 200, 200)),
        ("PUT /v1/posts/{id}/reactions/{kind}", all(204, 204, 404, 400, 204)),
        ("DELETE /v1/posts/{id}/reactions/{kind}", all(204, 204, 404, 400, 204)),
        ("GET /v1/posts/{id}/replies", all(200, 200, 404, 200, 200)),
        ("GET /v1/users/{id}", all(200, 200, 200, 200, 200)),
        ("PUT /v1/users/{id}", all(200, 403, 403, 200, 200)),
        ("GET /v1/users/{id}/followers", all(200, 200, 200, 200, 200)),
        ("GET /v1/users/{id}/following", all(200, 200, 200, 200, 200)),
        ("GET /v1/users/{id}/posts", all(200, 200, 200, 200, 200)),
        ("DELETE /v1/users/{id}", acting(all(403, 403, 403, 202, 202), 202)),
        ("GET /v1/users/{id}/erasure", acting(all(403, 403, 403, 404, 404), 404)),
        ("GET /v1/users/{id}/export", all(200, 403, 403, 200, 200)),
        ("GET /v1/stream", OWN),
        ("GET /v1/updates", OWN),
        ("POST /v1/tickets", OWN),
        ("GET /v1/notifications", OWN),
        ("POST /v1/notifications", acting(all(403, 403, 403, 202, 202), 202)),
        ("GET /v1/notifications/counts", OWN),
        ("POST /v1/notifications/seen", OWN),
        ("POST /v1/notifications/read", OWN),
        ("POST /v1/notifications/unread", OWN),
        ("DELETE /v1/notifications/{id}", all(404, 404, 404, 400, 404)),
        ("GET /v1/presence", all(200, 200, 200, 200, 200)),
        ("PUT /v1/presence", all(204, 204, 204, 400, 204)),
        // A channel in which users do nothing but subscribe.
        ("GET /v1/channels/{channel}/presence", acting(all(403, 403, 403, 200, 200), 200)),
        ("GET /v1/channels/{channel}/presence_stats", acting(all(403, 403, 403, 200, 200), 200)),
        ("GET /v1/channels/{channel}/publications", acting(all(403, 403, 403, 200, 200), 200)),
        ("POST /v1/channels/{channel}/publications", acting(all(403, 403, 403, 200, 200), 200)),
        ("POST /v1/broadcast", all(200, 200, 200, 200, 200)),
    ])
}

/// A channel of the app's own.
const CHANNEL: &str = "news:today";

fn server() -> TestServer {
    let rules = "subscribe = 'user'\npresence = true\nhistory_size = 5\nhistory_ttl_s = 60";
    Setup::new().namespace(&format!("name = 'news'\n{rules}")).start()
}

/// The operations of the description: `GET /v1/feed` with the statuses that it names.
async fn operations(server: &TestServer) -> BTreeMap<String, BTreeSet<u16>> {
    let api = server.anonymous().get("/openapi.json").await.expect(200).body;
    let mut found = BTreeMap::new();
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            let statuses = responses.keys().filter_map(|status| status.parse().ok()).collect();
            found.insert(format!("{} {path}", method.to_uppercase()), statuses);
        }
    }
    found
}

/// People of one case, so that no case sees what another did.
struct Cast {
    owner: String,
    post: String,
}

impl Cast {
    async fn new(server: &TestServer, number: usize, visibility: &str) -> Self {
        let owner = format!("owner{number}");
        let author = server.user(&owner);
        let _ = author.put(&format!("/v1/blocks/blocked{number}")).await.expect(204);
        let body = json!({"text": "theirs", "visibility": visibility});
        let post = author.post("/v1/posts", &body).await.expect(201).body["id"].as_str().map(str::to_owned);
        Self { owner, post: post.expect("an id") }
    }

    async fn ask(&self, caller: &Rest, operation: &str) -> Answer {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let is_post = path.starts_with("/v1/posts/") || path.starts_with("/v1/notifications/");
        let id = if is_post { &self.post } else { &self.owner };
        let mut path = path.replace("{id}", id).replace("{kind}", "like").replace("{channel}", CHANNEL);
        for name in ["{user}", "{author}"] {
            path = path.replace(name, &self.owner);
        }
        assert!(!path.contains('{'), "{operation}: give its parameters a value here");
        if operation == "GET /v1/posts" {
            path = format!("{path}?ids={}", self.post);
        }
        if operation == "GET /v1/presence" {
            path = format!("{path}?users={}", self.owner);
        }
        let body = match operation {
            "POST /v1/posts" => Some(json!({"text": "x"})),
            "POST /v1/channels/{channel}/publications" => Some(json!({"data": 1})),
            "POST /v1/broadcast" => Some(json!({"channels": [CHANNEL], "data": 1})),
            "POST /v1/following" => Some(json!({"authors": [self.owner]})),
            "PATCH /v1/posts/{id}" => Some(json!({"text": "changed"})),
            "PUT /v1/users/{id}" => Some(json!({"name": "changed"})),
            "PUT /v1/presence" => Some(json!({"status": "online"})),
            "POST /v1/notifications" => Some(json!({"recipients": [self.owner], "type": "app.news"})),
            "POST /v1/notifications/seen" => Some(json!({"up_to": self.post})),
            "POST /v1/notifications/read" | "POST /v1/notifications/unread" => {
                Some(json!({"ids": [self.post]}))
            }
            _ => None,
        };
        let method: Method = method.parse().expect("a method");
        if operation == "GET /v1/stream" {
            return caller.head(method, &path).await.expect("an answer");
        }
        caller.send(method, &path, body.map(|body| body.to_string().into_bytes())).await.expect("an answer")
    }
}

fn callers(server: &TestServer, number: usize) -> Vec<(&'static str, Rest)> {
    let anyone = || server.anonymous();
    let owner = format!("owner{number}");
    vec![
        ("owner", server.user(&owner)),
        ("other", server.user(&format!("other{number}"))),
        ("blocked", server.user(&format!("blocked{number}"))),
        ("service", server.service()),
        ("acting", server.service().acting_for(&owner)),
        ("admin", anyone().bearer(&role("moderator", "admin"))),
        ("anonymous", anyone()),
        ("expired", anyone().bearer(&user_for(&owner, -60))),
        ("a key that is none", anyone().header("x-api-key", "wrong")),
        ("a user as a service", server.user(&format!("other{number}")).acting_for(&owner)),
    ]
}

fn expected(of: Option<&Expected>, caller: &str) -> u16 {
    let Some(of) = of else { return 200 };
    match caller {
        "owner" => of.owner,
        "other" => of.other,
        "blocked" => of.blocked,
        "service" => of.service,
        "acting" => of.acting,
        "admin" => of.admin,
        "a user as a service" => 403,
        _ => 401,
    }
}

#[tokio::test]
async fn every_operation_by_everybody() {
    let server = server();
    let operations = operations(&server).await;
    let expectations = expectations();
    let described: BTreeSet<&str> = operations.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = expectations.keys().copied().collect();
    let unknown: Vec<_> = described.difference(&known).collect();
    assert!(unknown.is_empty(), "say here who may call {unknown:?}");
    let (mut failed, mut number) = (Vec::new(), 0);
    for (operation, of) in expectations.iter().filter(|(operation, _)| operations.contains_key(**operation)) {
        for index in 0..callers(&server, 0).len() {
            number += 1;
            let cast = Cast::new(&server, number, "public").await;
            let (name, caller) = callers(&server, number).swap_remove(index);
            let answer = cast.ask(&caller, operation).await;
            let right = expected(of.as_ref(), name);
            // Health is 200 or 204; what counts is that nobody is asked for anything.
            let met = answer.status == right || (of.is_none() && answer.status == 204);
            let described = operations[*operation].contains(&answer.status);
            if !met || !described {
                failed.push(format!("{operation} by {name}: {} for {right} {}", answer.status, answer.text));
            }
            if name == "blocked" && ["GET /v1/posts", "GET /v1/users/{id}/posts"].contains(operation) {
                assert_eq!(answer.body["data"], json!([]), "{operation} by the blocked");
            }
        }
    }
    assert!(failed.is_empty(), "{} of {number}:\n{}", failed.len(), failed.join("\n"));
}

/// What one may not see and what is not there are answered alike, whatever is tried.
#[tokio::test]
async fn hidden_is_like_missing() {
    let server = TestServer::spawn();
    let operations = operations(&server).await;
    let of_posts = operations.keys().filter(|operation| operation.contains("/v1/posts/{id}"));
    let mut number = 10_000;
    for operation in of_posts {
        for (visibility, caller) in
            [("followers", "other"), ("followers", "blocked"), ("public", "blocked"), ("deleted", "other")]
        {
            number += 1;
            let visible = if visibility == "deleted" { "public" } else { visibility };
            let hidden = Cast::new(&server, number, visible).await;
            if visibility == "deleted" {
                let path = format!("/v1/posts/{}", hidden.post);
                let _ = server.user(&hidden.owner).delete(&path).await.expect(204);
            }
            let caller = server.user(&format!("{caller}{number}"));
            let missing = Cast { owner: hidden.owner.clone(), post: "123456789".to_owned() };
            let (answer, like) =
                (hidden.ask(&caller, operation).await, missing.ask(&caller, operation).await);
            let shown = |answer: &Answer| -> (u16, Value) { (answer.status, answer.body.clone()) };
            assert_eq!(shown(&answer), shown(&like), "{operation}, {visibility}");
            assert_eq!(answer.status, 404, "{operation}, {visibility}");
            let after = server.user(&hidden.owner).get(&format!("/v1/posts/{}", hidden.post)).await;
            if visibility != "deleted" {
                assert_eq!((&after.body["text"], &after.body["reactions"]), (&json!("theirs"), &json!({})));
            }
        }
    }
    assert!(number > 10_020, "operations of posts are tried");
}
