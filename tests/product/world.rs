//! The server, the model, and what random people do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fama_tests::rest::Rest;
use fama_tests::server::{Setup, TestServer};
use fama_tests::token;
use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use crate::devices::Device;
use crate::model::{Model, Shown};

const PEOPLE: usize = 7;
const AT_ONCE: usize = 8;
const RETRY_LIMIT: Duration = Duration::from_secs(30);
const REST_LIMIT: Duration = Duration::from_secs(20);
const SPAN_S: u64 = 12 * 3_600;

/// An act. Those of one batch don't depend on each other's order, unless they are of one person.
#[derive(Debug, Clone)]
pub enum Act {
    Publish { key: String, reply_to: Option<String>, repost_of: Option<String>, mentions: Vec<String> },
    Delete { id: String },
    React { post: String, kind: &'static str, active: bool },
    Follow { author: String, active: bool },
}

/// How many acts of each person in a batch were acknowledged.
pub struct Progress(Vec<AtomicUsize>);

impl Progress {
    pub fn new(batch: &[(String, Vec<Act>)]) -> Self {
        Self(batch.iter().map(|_| AtomicUsize::new(0)).collect())
    }
}

pub struct World {
    pub server: TestServer,
    rest: RwLock<Rest>,
    pub model: Mutex<Model>,
    pub devices: Vec<Device>,
    pub random: StdRng,
    next: u64,
    pub done: usize,
}

pub fn person(number: usize) -> String {
    format!("p{number}")
}

fn shown(notification: &Value) -> Shown {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut actors: Vec<_> =
        notification["actors"].as_array().expect("actors").iter().filter_map(text).collect();
    actors.sort();
    assert_eq!(notification["actor_count"].as_u64(), Some(actors.len() as u64), "{notification}");
    let flag = |name: &str| notification[name].as_bool().expect("a flag");
    (
        match text(&notification["data"]["reaction"]) {
            Some(reaction) => format!("reaction {reaction}"),
            None => text(&notification["type"]).expect("a type"),
        },
        text(&notification["subject"]["id"]),
        actors,
        flag("seen"),
        flag("read"),
    )
}

impl World {
    pub async fn start(seed: u64) -> Self {
        // A few followers make a celebrity, so that modes change all the time.
        let server = Setup::new()
            .set("presence.grace_s", 1)
            .set("fanout.celebrity_up", 4)
            .set("fanout.celebrity_down", 3)
            .set("fanout.dwell_s", 0)
            .start();
        let devices = (0..PEOPLE).flat_map(|n| [Device::new(&person(n)), Device::new(&person(n))]).collect();
        let mut world = Self {
            server,
            rest: RwLock::new(Rest::new("")),
            model: Mutex::default(),
            devices,
            random: StdRng::seed_from_u64(seed),
            next: 0,
            done: 0,
        };
        world.arrive().await;
        world
    }

    /// Points everybody to where the server listens now.
    pub async fn arrive(&mut self) {
        let rest = Rest::pooled(&self.server.url()).header("x-api-key", token::SERVICE_KEY);
        *self.rest.write().expect("no task panicked") = rest;
        let url = self.server.ws_url();
        for device in &mut self.devices {
            device.connect(&url).await;
        }
    }

    pub fn user(&self, id: &str) -> Rest {
        self.rest.read().expect("no task panicked").clone().acting_for(id)
    }

    pub fn chance(&mut self, of: u32) -> bool {
        self.random.random_range(0..of) == 0
    }

    pub fn somebody(&mut self) -> String {
        person(self.random.random_range(0..PEOPLE))
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        (!list.is_empty()).then(|| list[self.random.random_range(0..list.len())].clone())
    }

    /// Follows of twelve hours are one group: near the end of such a span nobody follows.
    fn may_follow() -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        now % SPAN_S < SPAN_S - 120
    }

    /// What somebody does next. Posts are those that were there before the batch; of those one may be deleted that
    /// nobody else in the batch uses.
    fn act(&mut self, who: &str, posts: &[(String, String)], used: &mut Vec<String>) -> Option<Act> {
        let model = self.model.get_mut().expect("no task panicked");
        let seen: Vec<_> = posts
            .iter()
            .filter(|(id, author)| model.posts.contains_key(id) && !model.parted(who, author))
            .cloned()
            .collect();
        let others: Vec<_> =
            (0..PEOPLE).map(person).filter(|other| other != who && !model.parted(who, other)).collect();
        let unused: Vec<_> =
            posts.iter().filter(|(id, author)| author == who && !used.contains(id)).cloned().collect();
        let reposted = model.reposts.clone();
        self.next += 1;
        let key = format!("k{}", self.next);
        let post = self.one_of(&seen).map(|(id, _)| id);
        let other = self.one_of(&others);
        let act = match self.random.random_range(0..20) {
            0 | 1 => Act::Publish { key, reply_to: None, repost_of: None, mentions: Vec::new() },
            2..=4 => Act::Publish {
                key,
                reply_to: post.clone(),
                repost_of: None,
                mentions: other.into_iter().collect(),
            },
            5 => Act::Publish { key, reply_to: None, repost_of: None, mentions: others },
            6 | 7 => {
                let original = post.clone()?;
                let again = reposted.contains(&(who.to_owned(), original.clone()));
                if again || used.contains(&format!("{who} {original}")) {
                    return None;
                }
                used.push(format!("{who} {original}"));
                Act::Publish { key, reply_to: None, repost_of: Some(original), mentions: Vec::new() }
            }
            8 => {
                let (id, _) = self.one_of(&unused)?;
                used.push(id.clone());
                return Some(Act::Delete { id });
            }
            9..=14 => {
                let kind = if self.chance(3) { "wow" } else { "like" };
                Act::React { post: post.clone()?, kind, active: !self.chance(3) }
            }
            _ if Self::may_follow() => Act::Follow { author: other?, active: !self.chance(3) },
            _ => return None,
        };
        used.extend(post);
        Some(act)
    }

    /// A batch: each person's acts in order, those of different people at once.
    pub fn batch(&mut self, size: usize) -> Vec<(String, Vec<Act>)> {
        let model = self.model.get_mut().expect("no task panicked");
        let posts: Vec<_> = model.posts.iter().map(|(id, post)| (id.clone(), post.author.clone())).collect();
        let recent = posts[posts.len().saturating_sub(40)..].to_vec();
        let mut used = Vec::new();
        let mut batch: Vec<(String, Vec<Act>)> = (0..PEOPLE).map(|n| (person(n), Vec::new())).collect();
        let mut deleted: Vec<String> = Vec::new();
        for _ in 0..size {
            let who = self.random.random_range(0..PEOPLE);
            let posts: Vec<_> = recent.iter().filter(|(id, _)| !deleted.contains(id)).cloned().collect();
            if let Some(act) = self.act(&person(who), &posts, &mut used) {
                if let Act::Delete { id } = &act {
                    deleted.push(id.clone());
                }
                batch[who].1.push(act);
            }
        }
        batch
    }

    /// Does what is left of a batch. May be dropped and begun again: what came through before changes nothing.
    pub async fn run(&self, batch: &[(String, Vec<Act>)], progress: &Progress) {
        stream::iter(batch.iter().zip(&progress.0))
            .for_each_concurrent(AT_ONCE, async |((who, acts), done)| {
                for act in acts.iter().skip(done.load(Ordering::Relaxed)) {
                    self.perform(who, act).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await;
    }

    async fn perform(&self, who: &str, act: &Act) {
        match act {
            Act::Publish { key, reply_to, repost_of, mentions } => {
                let mut body = json!({"text": key, "mentions": mentions});
                for (field, id) in [("reply_to", reply_to), ("repost_of", repost_of)] {
                    if let Some(id) = id {
                        body[field] = json!(id);
                    }
                }
                let answer = self.until(who, Some(key), Method::POST, "/v1/posts", Some(&body), 201).await;
                let id = answer["id"].as_str().expect("a post has an id");
                let mut model = self.model.lock().expect("no task panicked");
                model.publish(id, who, reply_to.as_deref(), repost_of.as_deref(), mentions);
            }
            Act::Delete { id } => {
                self.until(who, None, Method::DELETE, &format!("/v1/posts/{id}"), None, 204).await;
                self.model.lock().expect("no task panicked").delete(id);
            }
            Act::React { post, kind, active } => {
                let path = format!("/v1/posts/{post}/reactions/{kind}");
                self.until(who, None, method(*active), &path, None, 204).await;
                self.model.lock().expect("no task panicked").react(who, post, kind, *active);
            }
            Act::Follow { author, active } => {
                let path = format!("/v1/following/{author}");
                self.until(who, None, method(*active), &path, None, 204).await;
                self.model.lock().expect("no task panicked").follow(who, author, *active);
            }
        }
    }

    /// Sends until it is answered so.
    pub async fn until(
        &self,
        who: &str,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
        status: u16,
    ) -> Value {
        let end = tokio::time::Instant::now() + RETRY_LIMIT;
        loop {
            let user = key.map_or_else(|| self.user(who), |key| self.user(who).once(key));
            let bytes = body.map(|body| body.to_string().into_bytes());
            let answer = user.send(method.clone(), path, bytes).await;
            match &answer {
                Ok(answer) if answer.status == status => return answer.body.clone(),
                // Still running, busy, or no answer: it may have happened.
                Ok(answer) if answer.status == 409 || answer.status >= 500 => {}
                Ok(answer) => panic!("{who} {method} {path} {body:?}: {}", answer.text),
                Err(_) => {}
            }
            assert!(tokio::time::Instant::now() < end, "{who} {method} {path}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The list as the server has it: ids and what is compared, from the top.
    pub async fn list(&self, user: &str) -> Vec<(String, Shown)> {
        let list = self.user(user).walk("/v1/notifications", 100).await;
        list.iter().map(|one| (one["id"].as_str().expect("an id").to_owned(), shown(one))).collect()
    }

    /// Waits until every inbox, all counts and what each device was told are those of the model.
    pub async fn rest(&mut self, what: &str) {
        let end = tokio::time::Instant::now() + REST_LIMIT;
        for user in (0..PEOPLE).map(person) {
            while let Some(difference) = self.difference(&user).await {
                assert!(tokio::time::Instant::now() < end, "after {what}, {user}: {difference}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until every feed, to its end, is that of the model.
    pub async fn feeds_rest(&self, what: &str) {
        let end = tokio::time::Instant::now() + REST_LIMIT;
        for user in (0..PEOPLE).map(person) {
            loop {
                let feed = self.user(&user).feed().await;
                let feed: Vec<u64> = feed.iter().map(|id| id.parse().expect("ids are numbers")).collect();
                let expected = self.model.lock().expect("no task panicked").feeds.feed(&user);
                if feed == expected {
                    break;
                }
                let only = |one: &[u64], other: &[u64]| -> Vec<u64> {
                    one.iter().filter(|id| !other.contains(id)).copied().collect()
                };
                let (more, less) = (only(&feed, &expected), only(&expected, &feed));
                assert!(
                    tokio::time::Instant::now() < end,
                    "after {what}, the feed of {user}: too much {more:?}, missing {less:?}, of {}",
                    expected.len()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until everybody looks to everybody else as the model says.
    pub async fn presence_rests(&self, what: &str) {
        let end = tokio::time::Instant::now() + REST_LIMIT;
        let everybody = (0..PEOPLE).map(person).collect::<Vec<_>>();
        let path = format!("/v1/presence?users={}", everybody.join(","));
        for viewer in &everybody {
            loop {
                let seen = self.user(viewer).get(&path).await.expect(200).body;
                let difference = self.unlike(viewer, seen["data"].as_array().expect("a list"));
                let Some(difference) = difference else { break };
                assert!(tokio::time::Instant::now() < end, "after {what}, to {viewer}: {difference}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn unlike(&self, viewer: &str, seen: &[Value]) -> Option<String> {
        let model = self.model.lock().expect("no task panicked");
        seen.iter().find_map(|seen| {
            let user = seen["user"].as_str()?;
            let devices = self.devices.iter().filter(|device| device.user == user && device.is_connected());
            let expected = model.seen(viewer, user, devices.count());
            let got = (seen["status"].as_str()?, usize::try_from(seen["devices"].as_u64()?).ok()?);
            (user != viewer && got != expected).then(|| format!("{seen} instead of {expected:?}"))
        })
    }

    async fn difference(&mut self, user: &str) -> Option<String> {
        let mut list: Vec<Shown> = self.list(user).await.into_iter().map(|(_, shown)| shown).collect();
        list.sort();
        let (expected, counts) = {
            let mut model = self.model.lock().expect("no task panicked");
            let inbox = model.inboxes.entry(user.to_owned()).or_default();
            (inbox.shown(), inbox.counts())
        };
        if list != expected {
            let only = |one: &[Shown], other: &[Shown]| -> Vec<Shown> {
                one.iter().filter(|shown| !other.contains(shown)).cloned().collect()
            };
            return Some(format!(
                "too much {:?}, missing {:?}",
                only(&list, &expected),
                only(&expected, &list)
            ));
        }
        let body = self.user(user).get("/v1/notifications/counts").await.expect(200).body;
        let got = (body["unseen"].as_u64()?, body["unread"].as_u64()?);
        let capped = (counts.0.min(100), counts.1.min(100));
        if got != capped {
            return Some(format!("counts {got:?} instead of {capped:?}"));
        }
        for device in self.devices.iter_mut().filter(|device| device.user == user) {
            device.catch_up();
            if let Some(told) = device.told.filter(|told| *told != capped) {
                return Some(format!("a device was told {told:?} instead of {capped:?}"));
            }
        }
        None
    }
}

pub fn method(active: bool) -> Method {
    if active { Method::PUT } else { Method::DELETE }
}
