//! The server with the graph, the model of what must be, and the history of what was.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use fama_tests::checker;
use fama_tests::graph::{Graph, name};
use fama_tests::history::{Outcome, Recorder, Relation, Seen, What};
use fama_tests::model::Model;
use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::token;
use futures_util::StreamExt;
use futures_util::stream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::json;

/// Above so many followers an author is pulled, below so many pushed again: both happen in this graph.
const UP: usize = 150;
const DOWN: usize = 100;
/// Fewer than most feeds have, so that walks go on below what is kept ready.
const HOT_CAP: i64 = 40;
const WRITERS: usize = 8;
const RETRY_LIMIT: Duration = Duration::from_secs(45);

/// What tasks share.
pub struct Shared {
    /// The caller, pointing to where the server is now.
    rest: RwLock<Rest>,
    /// Where sockets go now.
    pub ws_url: RwLock<String>,
    pub recorder: Recorder,
    pub model: Mutex<Model>,
    next: AtomicU64,
}

pub struct World {
    pub server: TestServer,
    pub graph: Graph,
    pub shared: Arc<Shared>,
    pub random: StdRng,
}

impl Shared {
    /// A user's own view of the API.
    pub fn user(&self, id: &str) -> Rest {
        self.rest.read().expect("no writer panicked").clone().acting_for(id)
    }

    /// Publishes, again and again with the same key if no answer comes, until the post is acknowledged.
    pub async fn post(&self, author: &str) -> u64 {
        let nonce = format!("n{}", self.next.fetch_add(1, Ordering::Relaxed));
        let body = json!({"text": nonce}).to_string();
        let end = tokio::time::Instant::now() + RETRY_LIMIT;
        loop {
            let began = self.recorder.now();
            let user = self.user(author).once(&nonce);
            let answer = user.send(Method::POST, "/v1/posts", Some(body.clone().into_bytes())).await;
            let (outcome, id) = match &answer {
                Ok(answer) if answer.status == 201 => {
                    (Outcome::Ok, answer.body["id"].as_str().and_then(|id| id.parse::<u64>().ok()))
                }
                // In progress, busy, or no answer at all: it may happen yet.
                Ok(answer) if answer.status == 409 || answer.status >= 500 => (Outcome::Info, None),
                Ok(answer) => panic!("{author}: {}", answer.text),
                Err(_) => (Outcome::Info, None),
            };
            let what = What::Post {
                author: author.to_owned(),
                nonce: nonce.clone(),
                key: Some(nonce.clone()),
                outcome,
                id,
            };
            self.recorder.request(began, what);
            if let Some(id) = id {
                self.model.lock().expect("no task panicked").publish(author, id);
                return id;
            }
            assert!(tokio::time::Instant::now() < end, "{author} cannot post: {answer:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Sets or undoes a relation, in the server, the model and the history.
    pub async fn relate(&self, user: &str, relation: Relation, target: &str, active: bool) {
        let list = match relation {
            Relation::Follow => "following",
            Relation::Block => "blocks",
            Relation::Mute => "mutes",
        };
        let began = self.recorder.now();
        let path = format!("/v1/{list}/{target}");
        let method = if active { Method::PUT } else { Method::DELETE };
        let answer = self.user(user).send(method, &path, None).await.expect("the server answers");
        assert_eq!(answer.status, 204, "{user} {path}: {}", answer.text);
        let (user, target) = (user.to_owned(), target.to_owned());
        let mut model = self.model.lock().expect("no task panicked");
        match relation {
            Relation::Follow => model.follow(&user, &target, active),
            Relation::Block => model.block(&user, &target, active),
            Relation::Mute => model.mute(&user, &target, active),
        }
        drop(model);
        self.recorder.request(began, What::Relate { user, relation, target, active, outcome: Outcome::Ok });
    }

    /// Walks a feed to its end and records what was there.
    pub async fn walk(&self, user: &str, limit: usize, last: bool) -> Vec<u64> {
        let began = self.recorder.now();
        let entries = self.user(user).walk("/v1/feed", limit).await;
        let posts: Vec<Seen> = entries.iter().filter_map(seen).collect();
        assert_eq!(posts.len(), entries.len(), "an entry of {user}'s feed is no post");
        let ids = posts.iter().map(|post| post.id).collect();
        self.recorder.request(began, What::Walk { user: user.to_owned(), posts, outcome: Outcome::Ok, last });
        ids
    }
}

/// A post of the API; the nonce is the first word of its text, edits add to it.
pub fn seen(post: &serde_json::Value) -> Option<Seen> {
    let text = post["text"].as_str()?;
    Some(Seen {
        id: post["id"].as_str()?.parse().ok()?,
        author: post["author"].as_str()?.to_owned(),
        nonce: text.split(' ').next()?.to_owned(),
    })
}

impl World {
    /// Imports the graph into a stopped store and starts on it.
    pub async fn start(seed: u64) -> Self {
        let graph = Graph::facebook();
        let mut server = Setup::new()
            .set("fanout.celebrity_up", i64::try_from(UP).expect("small"))
            .set("fanout.celebrity_down", i64::try_from(DOWN).expect("small"))
            .set("fanout.dwell_s", 0)
            .set("feed.hot_cap", HOT_CAP)
            .stopped();
        let csv = graph.write_csv(server.folder());
        let begun = std::time::Instant::now();
        let import = server.run(&["import", "--follows", &csv.to_string_lossy()]);
        assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
        eprintln!("imported {} follows in {:?}", graph.follows(), begun.elapsed());
        server.start();
        let shared = Arc::new(Shared {
            rest: RwLock::new(Rest::new("")),
            ws_url: RwLock::new(String::new()),
            recorder: Recorder::default(),
            model: Mutex::new(Model::default()),
            next: AtomicU64::new(0),
        });
        for (person, friends) in (0..).zip(&graph.friends) {
            for friend in friends {
                let (user, target) = (name(person), name(*friend));
                shared.model.lock().expect("no task panicked").follow(&user, &target, true);
                let (relation, outcome) = (Relation::Follow, Outcome::Ok);
                shared.recorder.request(0, What::Relate { user, relation, target, active: true, outcome });
            }
        }
        let mut world = Self { server, graph, shared, random: StdRng::seed_from_u64(seed) };
        world.arrive();
        world.check_import().await;
        world
    }

    /// Points everybody to where the server listens now.
    pub fn arrive(&mut self) {
        let rest = Rest::pooled(&self.server.url()).header("x-api-key", token::SERVICE_KEY);
        *self.shared.rest.write().expect("no reader panicked") = rest;
        *self.shared.ws_url.write().expect("no reader panicked") = self.server.ws_url();
    }

    async fn check_import(&self) {
        for person in [0, 1, 1000, 4038] {
            let user = name(person);
            let friends = self.graph.friends[person as usize].len();
            let seen = self.shared.user(&user).get(&format!("/v1/users/{user}")).await.expect(200).body;
            let counts = (seen["followers"].as_u64(), seen["following"].as_u64());
            assert_eq!(counts, (Some(friends as u64), Some(friends as u64)), "{user}");
        }
    }

    pub fn somebody(&mut self) -> String {
        name(self.random.random_range(0..self.graph.people()))
    }

    /// People with so many friends, a few of them.
    fn with_friends(&self, range: std::ops::Range<usize>, most: usize) -> Vec<u32> {
        let people =
            (0..self.graph.people()).filter(|p| range.contains(&self.graph.friends[*p as usize].len()));
        people.take(most).collect()
    }

    /// Posts by random authors, `WRITERS` at a time, while a few authors cross the thresholds in both directions.
    pub async fn post_while_authors_change(&mut self, posts: usize) {
        let authors: Vec<String> = (0..posts).map(|_| self.somebody()).collect();
        let (rising, falling) = (self.with_friends(UP - 8..UP, 6), self.with_friends(UP + 1..UP + 8, 4));
        assert!(
            rising.len() >= 3 && falling.len() >= 2,
            "the thresholds fit the graph: {rising:?} {falling:?}"
        );
        // An import knows no modes: they come with the first looks at the counts.
        self.modes_become(&rising, "push").await;
        self.modes_become(&falling, "pull").await;
        let posting = stream::iter(&authors).for_each_concurrent(WRITERS, async |author| {
            self.shared.post(author).await;
        });
        let changing = async {
            for person in &rising {
                let friends = &self.graph.friends[*person as usize];
                let strangers =
                    (0..self.graph.people()).filter(|p| p != person && friends.binary_search(p).is_err());
                for fan in strangers.step_by(37).take(UP + 5 - friends.len()) {
                    self.shared.relate(&name(fan), Relation::Follow, &name(*person), true).await;
                }
                self.shared.post(&name(*person)).await;
            }
            for person in &falling {
                let friends = &self.graph.friends[*person as usize];
                for fan in friends.iter().take(friends.len() - DOWN + 3) {
                    self.shared.relate(&name(*fan), Relation::Follow, &name(*person), false).await;
                }
                self.shared.post(&name(*person)).await;
            }
        };
        let begun = std::time::Instant::now();
        tokio::join!(posting, changing);
        eprintln!(
            "{posts} posts, {} authors changing, in {:?}",
            rising.len() + falling.len(),
            begun.elapsed()
        );
        // The change of mode itself comes later than the counts: post on until it is there, and beyond.
        self.modes_become(&rising, "pull").await;
        self.modes_become(&falling, "push").await;
        for person in rising.iter().chain(&falling) {
            self.shared.post(&name(*person)).await;
        }
    }

    /// Posts by those people until each is delivered so.
    async fn modes_become(&self, people: &[u32], wanted: &str) {
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let now = self.modes(people).await;
            if now.values().all(|mode| mode == wanted) {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "not all became {wanted}: {now:?}");
            for person in people {
                self.shared.post(&name(*person)).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn modes(&self, people: &[u32]) -> BTreeMap<u32, String> {
        let mut modes = BTreeMap::new();
        for person in people {
            let user = name(*person);
            let seen = self.shared.user(&user).get(&format!("/v1/users/{user}")).await.expect(200);
            modes.insert(*person, seen.body["delivery"].as_str().expect("push or pull").to_owned());
        }
        modes
    }

    /// Somebody, and one of those whom they follow and who posted.
    fn a_pair(&mut self) -> (String, String) {
        loop {
            let user = self.somebody();
            let model = self.shared.model.lock().expect("no task panicked");
            let number: usize = user[1..].parse().expect("a number");
            let friends = &self.graph.friends[number];
            let author = name(friends[self.random.random_range(0..friends.len())]);
            if model.follows(&user, &author) && model.feed(&author).len() > 1 {
                return (user, author);
            }
        }
    }

    /// Unfollows, blocks, mutes, deletes and edits, and back: the very next read knows.
    pub async fn change_relations(&mut self) {
        for round in 0..50 {
            let (user, author) = self.a_pair();
            let shared = self.shared.clone();
            match round % 5 {
                0 => shared.relate(&user, Relation::Follow, &author, false).await,
                1 => shared.relate(&user, Relation::Block, &author, true).await,
                2 => shared.relate(&author, Relation::Block, &user, true).await,
                3 => shared.relate(&user, Relation::Mute, &author, true).await,
                _ => self.edit_and_delete(&user, &author).await,
            }
            self.reads_exactly(&user).await;
            match round % 5 {
                0 => shared.relate(&user, Relation::Follow, &author, true).await,
                1 => shared.relate(&user, Relation::Block, &author, false).await,
                3 if round % 2 == 0 => shared.relate(&user, Relation::Mute, &author, false).await,
                _ => {}
            }
            self.reads_exactly(&user).await;
        }
    }

    async fn edit_and_delete(&self, user: &str, author: &str) {
        let edited = self.shared.post(author).await;
        let deleted = self.shared.post(author).await;
        let writer = self.shared.user(author);
        let path = format!("/v1/posts/{edited}");
        let text = writer.get(&path).await.expect(200).body["text"].as_str().expect("a text").to_owned();
        let after = format!("{text} edited");
        let _ = writer.patch(&path, &json!({"text": after})).await.expect(200);
        let began = self.shared.recorder.now();
        let _ = writer.delete(&format!("/v1/posts/{deleted}")).await.expect(204);
        self.shared.recorder.request(began, What::Delete { id: deleted, outcome: Outcome::Ok });
        self.shared.model.lock().expect("no task panicked").delete(author, deleted);
        fama_tests::eventually("the edited post is there", Duration::from_secs(10), async || {
            let page = self.shared.user(user).get("/v1/feed?limit=20").await.expect(200);
            let posts = page.body["data"].as_array().expect("a page").clone();
            let post = posts.iter().find(|post| post["id"] == json!(edited.to_string()))?;
            assert_eq!(post["text"], json!(after), "an edited post is shown as it was");
            Some(())
        })
        .await;
    }

    async fn reads_exactly(&self, user: &str) {
        let expected = self.shared.model.lock().expect("no task panicked").feed(user);
        let got = self.shared.walk(user, 100, false).await;
        assert!(got == expected, "{user}: {}", difference(&got, &expected));
    }

    /// Runs every check over everything that happened so far.
    pub fn judge(&self) {
        let entries = self.shared.recorder.entries();
        let report = checker::check(&entries);
        if !report.properties().is_empty() {
            let path = std::env::temp_dir().join(format!("fama-history-{}.jsonl", std::process::id()));
            self.shared.recorder.save(&path).expect("the history is saved");
            eprintln!("the history is in {}", path.display());
        }
        report.assert_clean();
    }
}

/// What is missing and what is too much, shortened.
pub fn difference(got: &[u64], expected: &[u64]) -> String {
    let missing: Vec<_> = expected.iter().filter(|id| !got.contains(id)).take(5).collect();
    let extra: Vec<_> = got.iter().filter(|id| !expected.contains(id)).take(5).collect();
    format!("{} posts for {}; missing {missing:?}, not expected {extra:?}", got.len(), expected.len())
}
