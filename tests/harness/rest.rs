//! A client of the HTTP API that keeps what the tests look at: status, headers, body.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, `Null` if it is empty or no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// A header as text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The `error` code of the body, empty if there is none.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// Panics unless the status is as expected.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Panics unless status and error code are as expected.
    #[track_caller]
    pub fn refused(self, status: u16, error: &str) {
        assert_eq!((self.status, self.error()), (status, error), "{}", self.text);
        assert!(self.body["message"].as_str().is_some_and(|m| !m.is_empty()), "no message: {}", self.text);
    }

    /// The ids of a page's entries.
    pub fn ids(&self) -> Vec<String> {
        let data = self.body["data"].as_array().cloned().unwrap_or_default();
        data.iter().filter_map(|entry| entry["id"].as_str().map(str::to_owned)).collect()
    }
}

/// A caller with its credentials.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    base: String,
    headers: HeaderMap,
}

/// A client that keeps at most so many idle connections.
fn build(idle: usize) -> Client {
    // The one provider of the program; a second installation in the same process changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().timeout(REQUEST_LIMIT).pool_max_idle_per_host(idle).build().expect("a client")
}

/// Shared by all tests of a process. Each has a runtime of its own, and a connection kept by one cannot serve another.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| build(0))
}

impl Rest {
    /// Without credentials.
    pub fn new(base: &str) -> Self {
        Self { client: client().clone(), base: base.to_owned(), headers: HeaderMap::new() }
    }

    /// The same, with connections kept for the next request of this caller and its clones.
    pub fn pooled(base: &str) -> Self {
        Self { client: build(64), ..Self::new(base) }
    }

    /// With one more header on every request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// With a token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A service acting for a user.
    #[must_use]
    pub fn acting_for(self, user: &str) -> Self {
        self.header("fama-user", user)
    }

    /// With an idempotency key.
    #[must_use]
    pub fn once(&self, key: &str) -> Self {
        self.clone().header("idempotency-key", key)
    }

    /// Sends anything; an error is a connection that failed or a time that ran out.
    pub async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> reqwest::Result<Answer> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).headers(self.headers.clone());
        if let Some(body) = body {
            if !self.headers.contains_key("content-type") {
                request = request.header("content-type", "application/json");
            }
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text })
    }

    /// Sends without a body and waits for the head of the answer alone: for answers that do not end.
    pub async fn head(&self, method: Method, path: &str) -> reqwest::Result<Answer> {
        let request =
            self.client.request(method, format!("{}{path}", self.base)).headers(self.headers.clone());
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: Value::Null, text: String::new() })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map(|value| value.to_string().into_bytes());
        self.send(method.clone(), path, bytes).await.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// GET
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// POST
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// PATCH
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    /// PUT without a body.
    pub async fn put(&self, path: &str) -> Answer {
        self.ask(Method::PUT, path, None).await
    }

    /// PUT with a body.
    pub async fn put_json(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::PUT, path, Some(body)).await
    }

    /// DELETE
    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None).await
    }

    /// Publishes a text and gives the id.
    pub async fn publish(&self, text: &str) -> String {
        let answer = self.post("/v1/posts", &json!({"text": text})).await.expect(201);
        answer.body["id"].as_str().expect("a post has an id").to_owned()
    }

    /// Follows.
    pub async fn follow(&self, author: &str) {
        let _ = self.put(&format!("/v1/following/{author}")).await.expect(204);
    }

    /// Walks a list to its end, `limit` at a time; entries in the order given.
    pub async fn walk(&self, path: &str, limit: usize) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut cursor = None::<String>;
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let tail = cursor.as_deref().map(|c| format!("&cursor={c}")).unwrap_or_default();
            let page = self.get(&format!("{path}{joint}limit={limit}{tail}")).await.expect(200);
            let data = page.body["data"].as_array().expect("a page has data");
            assert!(data.len() <= limit, "a page of {} where {limit} were asked for", data.len());
            entries.extend(data.iter().cloned());
            let next = page.body["next_cursor"].as_str().map(str::to_owned);
            assert_eq!(
                page.body["has_more"].as_bool(),
                Some(next.is_some()),
                "has_more and next_cursor agree"
            );
            let Some(next) = next else { return entries };
            assert_ne!(cursor.as_ref(), Some(&next), "the cursor stands still");
            cursor = Some(next);
        }
    }

    /// The ids of the caller's feed, to its end.
    pub async fn feed(&self) -> Vec<String> {
        let entries = self.walk("/v1/feed", 100).await;
        entries.iter().map(|post| post["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// The texts of the newest page of the caller's feed.
    pub async fn feed_texts(&self) -> Vec<String> {
        let page = self.get("/v1/feed?limit=50").await.expect(200);
        let data = page.body["data"].as_array().expect("a page has data");
        data.iter().map(|post| post["text"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
