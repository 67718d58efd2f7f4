//! A client of the realtime protocol (JSON over WebSocket) that checks what it is told: replies belong to commands,
//! offsets have no hole. It never reconnects by itself; [`Session::positions`] says where the next one goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// Where a reader stands in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Incarnation of the stream.
    pub epoch: String,
    /// The last publication.
    pub offset: u64,
}

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its number.
    pub code: u64,
    /// Whether a later attempt makes sense.
    pub temporary: bool,
}

/// How a connection ended: the code of the close frame, 1006 if there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The close code.
    pub code: u16,
    /// The reason in the frame.
    pub reason: String,
}

/// One thing the server sent without being asked.
#[derive(Debug, Clone)]
pub struct Push {
    /// The channel, empty for messages to the connection.
    pub channel: String,
    /// `pub`, `join`, `leave`, `unsubscribe`, `subscribe`, `message` or `disconnect`.
    pub kind: String,
    /// What is under that key.
    pub body: Value,
    /// It came in the reply to a connect or subscribe, as part of what was missed.
    pub recovered: bool,
}

impl Push {
    /// The `type` of a typed event, empty if it is none.
    pub fn event(&self) -> &str {
        self.body["data"]["type"].as_str().unwrap_or_default()
    }
}

#[derive(Default)]
struct State {
    pushes: Vec<Push>,
    read: usize,
    positions: BTreeMap<String, At>,
    violations: Vec<String>,
    waiting: BTreeMap<u64, Waiting>,
    closed: Option<Closed>,
}

/// A command without its reply. What a reply says of positions is taken over before the next message is read.
struct Waiting {
    tell: oneshot::Sender<Value>,
    method: String,
    channel: Option<String>,
    since: BTreeMap<String, At>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

/// One connection.
pub struct Session {
    shared: Arc<Shared>,
    send: mpsc::UnboundedSender<Message>,
    next: AtomicU32,
    task: tokio::task::JoinHandle<()>,
    /// What the connect reply said.
    pub hello: Value,
}

/// How to connect.
#[derive(Default, Clone)]
pub struct Connect {
    /// The token, if any.
    pub token: Option<String>,
    /// Positions of server-side subscriptions from an earlier connection.
    pub since: BTreeMap<String, At>,
    /// More headers of the upgrade request.
    pub headers: Vec<(String, String)>,
}

impl Session {
    /// Opens the socket and sends `connect` as a user with a good token.
    pub async fn open(url: &str, user: &str) -> Self {
        Self::resume(url, user, BTreeMap::new()).await
    }

    /// The same, going on from earlier positions.
    pub async fn resume(url: &str, user: &str, since: BTreeMap<String, At>) -> Self {
        let connect = Connect { token: Some(crate::token::user(user)), since, headers: Vec::new() };
        match Self::connect(url, &connect).await {
            Ok(session) => session,
            Err(e) => panic!("{user} cannot connect: {e}"),
        }
    }

    /// The same, with the outcome left to the caller: the session, or what was said instead.
    pub async fn connect(url: &str, how: &Connect) -> Result<Self, String> {
        let mut session = Self::raw(url, &how.headers).await?;
        let mut body = Map::new();
        if let Some(token) = &how.token {
            body.insert("token".into(), json!(token));
        }
        if !how.since.is_empty() {
            let subs = how.since.iter().map(|(channel, at)| {
                (channel.clone(), json!({"recover": true, "offset": at.offset, "epoch": at.epoch}))
            });
            body.insert("subs".into(), Value::Object(subs.collect()));
        }
        let reply = session.exchange("connect", Value::Object(body), how.since.clone()).await;
        session.hello = reply.map_err(|e| format!("{e:?}"))?;
        Ok(session)
    }

    /// Opens the socket and sends nothing.
    pub async fn raw(url: &str, headers: &[(String, String)]) -> Result<Self, String> {
        let request = url.into_client_request().map_err(|e| e.to_string())?;
        let host = request.uri().authority().expect("the URL has a host").to_string();
        let stream = TcpStream::connect(host).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Self::over(url, stream, headers).await
    }

    /// Upgrades a stream, such as one of TLS, and sends nothing more.
    pub async fn over<S>(url: &str, stream: S, headers: &[(String, String)]) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut request = url.into_client_request().map_err(|e| e.to_string())?;
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().map_err(|_| format!("{name} is no header"))?;
            request.headers_mut().insert(name, value.parse().map_err(|_| format!("{value} is no value"))?);
        }
        let config = WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(0);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|e| e.to_string())?;
        let shared = Arc::new(Shared::default());
        let (send, outgoing) = mpsc::unbounded_channel();
        let task = tokio::spawn(drive(socket, outgoing, send.clone(), shared.clone()));
        Ok(Self { shared, send, next: AtomicU32::new(1), task, hello: Value::Null })
    }

    /// Sends a command and waits for its reply. A connection that closes first counts as error 0.
    pub async fn command(&self, method: &str, body: Value) -> Result<Value, Refused> {
        self.exchange(method, body, BTreeMap::new()).await
    }

    async fn exchange(
        &self,
        method: &str,
        body: Value,
        since: BTreeMap<String, At>,
    ) -> Result<Value, Refused> {
        let id = u64::from(self.next.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = oneshot::channel();
        let channel = body["channel"].as_str().map(str::to_owned);
        let waiting = Waiting { tell, method: method.to_owned(), channel, since };
        self.shared.lock().waiting.insert(id, waiting);
        self.text(&json!({"id": id, method: body}).to_string());
        let reply = tokio::time::timeout(REPLY_LIMIT, told)
            .await
            .unwrap_or_else(|_| panic!("no reply to {method} within {REPLY_LIMIT:?}"));
        let reply = reply.map_err(|_| Refused { code: 0, temporary: false })?;
        if let Some(error) = reply.get("error") {
            let temporary = error["temporary"].as_bool().unwrap_or(false);
            return Err(Refused { code: error["code"].as_u64().unwrap_or(0), temporary });
        }
        assert!(reply.get(method).is_some(), "the reply to {method} has no result: {reply}");
        Ok(reply[method].clone())
    }

    /// Subscribes, and follows the channel's offsets from there.
    pub async fn subscribe(&self, channel: &str, since: Option<&At>) -> Result<Value, Refused> {
        let mut body = json!({"channel": channel});
        if let Some(at) = since {
            body["recover"] = json!(true);
            body["offset"] = json!(at.offset);
            body["epoch"] = json!(at.epoch);
        }
        let since = since.map(|at| (channel.to_owned(), at.clone())).into_iter().collect();
        self.exchange("subscribe", body, since).await
    }

    /// Sends a text frame as it is.
    pub fn text(&self, text: &str) {
        // A closed connection shows itself in the wait that follows.
        let _ = self.send.send(Message::text(text));
    }

    /// Takes the next push that `wanted` accepts; those before it are passed over.
    pub async fn push(&self, what: &str, limit: Duration, wanted: impl Fn(&Push) -> bool) -> Push {
        let found = tokio::time::timeout(limit, async {
            loop {
                let changed = self.shared.changed.notified();
                {
                    let mut state = self.shared.lock();
                    while state.read < state.pushes.len() {
                        let push = state.pushes[state.read].clone();
                        state.read += 1;
                        if wanted(&push) {
                            return push;
                        }
                    }
                }
                changed.await;
            }
        });
        let seen = || self.shared.lock().pushes.iter().map(|p| p.body.to_string()).collect::<Vec<_>>();
        found.await.unwrap_or_else(|_| panic!("no {what} within {limit:?}; seen: {:#?}", seen()))
    }

    /// Takes the next typed event of that type.
    pub async fn event(&self, name: &str, limit: Duration) -> Push {
        self.push(name, limit, |push| push.event() == name).await
    }

    /// Waits for pushes that nobody took yet, and takes them; `None` once the connection ended and all are taken.
    pub async fn more(&self) -> Option<Vec<Push>> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut state = self.shared.lock();
                if state.read < state.pushes.len() {
                    let new = state.pushes[state.read..].to_vec();
                    state.read = state.pushes.len();
                    return Some(new);
                }
                if state.closed.is_some() {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Everything pushed so far, what was recovered included.
    pub fn pushes(&self) -> Vec<Push> {
        self.shared.lock().pushes.clone()
    }

    /// Where it stands in each positioned channel.
    pub fn positions(&self) -> BTreeMap<String, At> {
        self.shared.lock().positions.clone()
    }

    /// What the server did that the protocol forbids: holes, foreign channels, replies to nothing.
    pub fn violations(&self) -> Vec<String> {
        self.shared.lock().violations.clone()
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self, limit: Duration) -> Closed {
        let end = tokio::time::timeout(limit, async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(closed) = self.shared.lock().closed.clone() {
                    return closed;
                }
                changed.await;
            }
        });
        end.await.unwrap_or_else(|_| panic!("still open after {limit:?}"))
    }

    /// Whether it is still open.
    pub fn is_open(&self) -> bool {
        self.shared.lock().closed.is_none()
    }

    /// Says goodbye, as a client does that disconnects.
    pub async fn goodbye(self) {
        let _ = self.send.send(Message::Close(None));
        self.closed(REPLY_LIMIT).await;
    }

    /// Ends the TCP connection without a word, as a lost network does.
    pub fn cut(self) -> BTreeMap<String, At> {
        self.task.abort();
        self.positions()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with the state")
    }

    fn message(&self, message: Value) -> bool {
        let Some(object) = message.as_object() else {
            self.lock().violations.push(format!("not an object: {message}"));
            return false;
        };
        if object.is_empty() {
            return true;
        }
        let mut state = self.lock();
        if let Some(push) = message.get("push") {
            state.push(push);
        } else {
            match message["id"].as_u64().and_then(|id| state.waiting.remove(&id)) {
                Some(waiting) => state.replied(waiting, message),
                None => state.violations.push(format!("a reply to nothing: {message}")),
            }
        }
        drop(state);
        self.changed.notify_waiters();
        false
    }
}

impl State {
    fn replied(&mut self, waiting: Waiting, message: Value) {
        let result = &message[&waiting.method];
        match (waiting.method.as_str(), &waiting.channel) {
            ("connect", _) => {
                for (channel, sub) in result["subs"].as_object().into_iter().flatten() {
                    self.subscribed(channel, sub, waiting.since.get(channel));
                }
            }
            ("subscribe", Some(channel)) if result.is_object() => {
                self.subscribed(channel, result, waiting.since.get(channel));
            }
            ("unsubscribe", Some(channel)) => drop(self.positions.remove(channel)),
            _ => {}
        }
        // The caller may have given up.
        let _ = waiting.tell.send(message);
    }

    /// Takes over the position of a reply, then what it recovered.
    fn subscribed(&mut self, channel: &str, result: &Value, since: Option<&At>) {
        let set = |key: &str| result[key].as_bool() == Some(true);
        if set("recoverable") || set("positioned") {
            let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
            let at = At { epoch, offset: result["offset"].as_u64().unwrap_or(0) };
            if set("recovered") && since.is_some_and(|since| since.offset != at.offset) {
                self.violations.push(format!("{channel}: recovered from elsewhere than asked: {result}"));
            }
            self.positions.insert(channel.to_owned(), at);
        }
        for publication in result["publications"].as_array().into_iter().flatten() {
            self.publication(channel, publication.clone(), true);
        }
    }

    fn push(&mut self, push: &Value) {
        let channel = push["channel"].as_str().unwrap_or_default();
        let Some((kind, body)) = push.as_object().and_then(|o| o.iter().find(|(key, _)| *key != "channel"))
        else {
            self.violations.push(format!("an empty push: {push}"));
            return;
        };
        if kind == "pub" {
            self.publication(channel, body.clone(), false);
            return;
        }
        match kind.as_str() {
            "subscribe" => {
                let epoch = body["epoch"].as_str().unwrap_or_default().to_owned();
                let offset = body["offset"].as_u64().unwrap_or(0);
                self.positions.insert(channel.to_owned(), At { epoch, offset });
            }
            "unsubscribe" => drop(self.positions.remove(channel)),
            _ => {}
        }
        let (channel, kind, body) = (channel.to_owned(), kind.clone(), body.clone());
        self.pushes.push(Push { channel, kind, body, recovered: false });
    }

    fn publication(&mut self, channel: &str, body: Value, recovered: bool) {
        if let (Some(offset), Some(at)) = (body["offset"].as_u64(), self.positions.get_mut(channel)) {
            // After a reset the stream may be another one.
            let reset = body["data"]["type"] == "feed.reset";
            if offset != at.offset + 1 && !reset {
                self.violations.push(format!("{channel}: {offset} comes after {}", at.offset));
            }
            at.offset = offset;
            if let Some(epoch) = body["epoch"].as_str() {
                epoch.clone_into(&mut at.epoch);
            }
        }
        self.pushes.push(Push { channel: channel.to_owned(), kind: "pub".to_owned(), body, recovered });
    }
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    mut outgoing: mpsc::UnboundedReceiver<Message>,
    pong: mpsc::UnboundedSender<Message>,
    shared: Arc<Shared>,
) {
    let closed = loop {
        tokio::select! {
            Some(message) = outgoing.recv() => {
                // A failed write shows itself as the end of reading.
                let _ = socket.send(message).await;
            }
            incoming = socket.next() => match incoming {
                Some(Ok(Message::Text(text))) => {
                    for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
                        match serde_json::from_str(line) {
                            Ok(message) => if shared.message(message) {
                                let _ = pong.send(Message::text("{}"));
                            },
                            Err(e) => shared.lock().violations.push(format!("{e}: {line}")),
                        }
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.map(|f| Closed { code: f.code.into(), reason: f.reason.to_string() });
                    break frame.unwrap_or(Closed { code: 1005, reason: String::new() });
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break Closed { code: 1006, reason: String::new() },
            }
        }
    };
    let _ = socket.flush().await;
    let mut state = shared.lock();
    state.closed = Some(closed);
    state.waiting.clear();
    drop(state);
    shared.changed.notify_waiters();
}
