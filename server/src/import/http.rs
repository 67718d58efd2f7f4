//! Through a running server, with the key of a service.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fama_protocol::{PostId, UserId};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

use super::{FollowBatch, ImportError, PostRecord, Target, WIDTH};
use crate::config::Secret;

/// Tries of one call.
const TRIES: u32 = 8;
/// Longest wait between two of them.
const MAX_WAIT_S: u64 = 30;

/// A running server.
pub struct HttpTarget {
    client: Client,
    url: String,
    key: Secret,
}

impl HttpTarget {
    /// `url` is the server's, such as `http://127.0.0.1:8000`.
    pub fn new(url: &str, key: Secret) -> Result<Self, String> {
        let client =
            Client::builder().timeout(Duration::from_secs(10)).build().map_err(|error| error.to_string())?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), key })
    }

    async fn post(
        &self,
        path: &str,
        user: &UserId,
        idempotency_key: Option<&str>,
        body: String,
    ) -> Result<(), String> {
        let mut why = String::new();
        for attempt in 0..TRIES {
            let mut request = self.client.post(format!("{}{path}", self.url));
            request = request.header("x-api-key", self.key.expose()).header("fama-user", user.as_str());
            if let Some(key) = idempotency_key {
                request = request.header("idempotency-key", key);
            }
            let sent = request.header("content-type", "application/json").body(body.clone()).send().await;
            let wait_s = match sent {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) if is_for_later(response.status()) => {
                    let asked = retry_after(&response);
                    why = explain(response).await;
                    asked.unwrap_or(1 << attempt)
                }
                Ok(response) => return Err(explain(response).await),
                Err(error) => {
                    why = format!("{} does not answer: {error}", self.url);
                    1 << attempt
                }
            };
            if attempt + 1 < TRIES {
                tokio::time::sleep(Duration::from_secs(wait_s.min(MAX_WAIT_S))).await;
            }
        }
        Err(why)
    }
}

/// 409: the same request is under way, left over from an import that stopped.
fn is_for_later(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::CONFLICT || status.is_server_error()
}

fn retry_after(response: &Response) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

async fn explain(response: Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let message = json["message"].as_str().unwrap_or(&text);
    let fields = &json["details"]["fields"];
    let fields = if fields.is_object() { format!(" {fields}") } else { String::new() };
    format!("the server answers {status}: {message:.500}{fields:.500}")
}

#[async_trait]
impl Target for HttpTarget {
    fn name(&self) -> String {
        self.url.clone()
    }

    async fn follow(&self, batch: FollowBatch) -> Result<(), String> {
        let body = json!({ "authors": batch.authors }).to_string();
        self.post("/v1/following", &batch.follower, None, body).await
    }

    async fn mint(&self, _: &[PostRecord]) -> Result<Vec<PostId>, ImportError> {
        Ok(Vec::new())
    }

    /// Authors at once, each one's posts one after the other.
    async fn publish(&self, posts: Vec<PostRecord>) -> Result<(), ImportError> {
        let mut by_author: BTreeMap<UserId, Vec<PostRecord>> = BTreeMap::new();
        for post in posts {
            if post.created_at.is_some() {
                let why = "created_at is taken into the store only: stop the server and import without --url, or leave it out";
                return Err(ImportError::Line { line: post.line, why: why.into() });
            }
            by_author.entry(post.author.clone()).or_default().push(post);
        }
        let authors = stream::iter(by_author.into_values()).map(|posts| async move {
            for PostRecord { line, key, author, json, .. } in posts {
                let done = self.post("/v1/posts", &author, Some(&key), json).await;
                done.map_err(|why| ImportError::Line { line, why })?;
            }
            Ok(())
        });
        authors.buffer_unordered(WIDTH).try_collect::<()>().await
    }
}
