//! Simulated authors: a client of the product’s own API that posts, answers, passes on and likes, and answers visitors too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fama_fanout::Clock;
use fama_protocol::{AppId, PostId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Member;
use super::guests::Guests;
use super::texts::{self, Dice};
use crate::auth::Access;
use crate::auth::mint::{Grant, sign};
use crate::config::Secret;

/// Posts that may be answered, passed on and liked.
const REMEMBERED: usize = 200;
/// Seconds for which a token is good; a new one is made when half of it is over.
const TOKEN_S: u64 = 600;
/// Those with most followers, who post more often than others.
const LOUD: usize = 25;
/// One act of so many is for a member whom a visitor became.
const GUESTS_ONE_IN: usize = 6;

/// The authors.
pub struct Authors {
    client: reqwest::Client,
    url: String,
    secret: Secret,
    members: Vec<Member>,
    guests: Arc<Guests>,
    clock: Arc<dyn Clock>,
    recent: VecDeque<PostId>,
    token: Option<(String, u64)>,
}

#[derive(Deserialize)]
struct Created {
    id: PostId,
}

#[derive(Deserialize)]
struct Posts {
    data: Vec<Created>,
}

impl Authors {
    /// Authors that write to the server at `url`.
    pub fn new(
        url: String,
        secret: Secret,
        members: Vec<Member>,
        guests: Arc<Guests>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { client, url, secret, members, guests, clock, recent: VecDeque::new(), token: None })
    }

    /// Posts for as long as it is polled, about every `every_ms`.
    pub async fn run(mut self, every_ms: u64) {
        loop {
            // Between half and one and a half of the time: people are not metronomes.
            let wait = every_ms / 2 + self.clock.random() % every_ms.max(1);
            self.clock.sleep(wait).await;
            if let Err(error) = self.act().await {
                tracing::warn!(%error, "a simulated author could not write; going on");
                self.clock.sleep(1_000).await;
            }
        }
    }

    fn dice(&self) -> impl Dice + use<> {
        let clock = Arc::clone(&self.clock);
        move || clock.random()
    }

    /// A member whom no visitor is.
    fn someone(&self) -> Option<UserId> {
        let mut dice = self.dice();
        let among = if dice.roll(4) == 0 { LOUD.min(self.members.len()) } else { self.members.len() };
        self.members.get(dice.roll(among)).map(|member| member.id.clone()).filter(|id| !self.guests.has(id))
    }

    fn earlier(&self) -> Option<PostId> {
        self.recent.get(self.dice().roll(self.recent.len())).copied()
    }

    async fn act(&mut self) -> anyhow::Result<()> {
        let Some(author) = self.someone() else { return Ok(()) };
        let mut dice = self.dice();
        if dice.roll(GUESTS_ONE_IN) == 0
            && let Some(guest) = self.guests.pick(&mut dice)
        {
            return self.attend_to(&guest, &author).await;
        }
        let body = match (dice.roll(20), self.earlier()) {
            (0..3, Some(post)) => json!({ "text": texts::reply(&mut dice), "reply_to": post }),
            (3, Some(post)) => json!({ "text": texts::passing_on(&mut dice), "repost_of": post }),
            _ => json!({ "text": texts::post(&mut dice) }),
        };
        let response = self.send(reqwest::Method::POST, "/v1/posts", &author, Some(&body)).await?;
        self.recent.push_back(response.json::<Created>().await?.id);
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        for _ in 0..dice.roll(4) {
            if let (Some(post), Some(user)) = (self.earlier(), self.someone()) {
                let path = format!("/v1/posts/{post}/reactions/like");
                self.send(reqwest::Method::PUT, &path, &user, None).await?;
            }
        }
        Ok(())
    }

    /// Somebody likes, answers, passes on or follows what a visitor does; whom the visitor blocks can't.
    async fn attend_to(&mut self, guest: &UserId, actor: &UserId) -> anyhow::Result<()> {
        let mut dice = self.dice();
        let path = format!("/v1/users/{guest}/posts?limit=4");
        let response = self.ask(reqwest::Method::GET, &path, actor, None).await?;
        let posts =
            if response.status().is_success() { response.json::<Posts>().await?.data } else { vec![] };
        let post = posts.get(dice.roll(posts.len()).min(dice.roll(posts.len()))).map(|post| post.id);
        let (method, path, body) = match (dice.roll(16), post) {
            (0, _) | (_, None) => (reqwest::Method::PUT, format!("/v1/following/{guest}"), None),
            (1, _) => {
                let text = format!("@{guest} {}", texts::post(&mut dice));
                let body = json!({ "text": text, "mentions": [guest] });
                (reqwest::Method::POST, "/v1/posts".to_owned(), Some(body))
            }
            (2..5, Some(post)) => {
                let body = json!({ "text": texts::reply(&mut dice), "reply_to": post });
                (reqwest::Method::POST, "/v1/posts".to_owned(), Some(body))
            }
            (5, Some(post)) => {
                let body = json!({ "text": texts::passing_on(&mut dice), "repost_of": post });
                (reqwest::Method::POST, "/v1/posts".to_owned(), Some(body))
            }
            (_, Some(post)) => (reqwest::Method::PUT, format!("/v1/posts/{post}/reactions/like"), None),
        };
        let response = self.ask(method, &path, actor, body.as_ref()).await?;
        if !matches!(response.status(), http::StatusCode::FORBIDDEN | http::StatusCode::NOT_FOUND) {
            response.error_for_status()?;
        }
        Ok(())
    }

    async fn send(
        &mut self,
        method: reqwest::Method,
        path: &str,
        user: &UserId,
        body: Option<&Value>,
    ) -> anyhow::Result<reqwest::Response> {
        Ok(self.ask(method, path, user, body).await?.error_for_status()?)
    }

    /// The answer, whatever it is.
    async fn ask(
        &mut self,
        method: reqwest::Method,
        path: &str,
        user: &UserId,
        body: Option<&Value>,
    ) -> anyhow::Result<reqwest::Response> {
        let token = self.token()?;
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(token).header("fama-user", user.as_str());
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request.send().await?)
    }

    fn token(&mut self) -> anyhow::Result<String> {
        let now = self.clock.now();
        if let Some((token, until)) = &self.token
            && now.0 < *until
        {
            return Ok(token.clone());
        }
        let (app, user) = (AppId::default(), UserId::new("simulation")?);
        let grant = Grant {
            app: &app,
            user: &user,
            access: Access::Service,
            ttl_s: TOKEN_S,
            issuer: None,
            audience: None,
        };
        let token = sign(&grant, self.secret.expose().as_bytes(), now)?;
        self.token = Some((token.clone(), now.plus(TOKEN_S * 500).0));
        Ok(token)
    }
}
