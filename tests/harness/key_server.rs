//! An HTTP server of a key set that can be as bad as servers get.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Answers {
    /// 200 with this body.
    Body(String),
    /// A status alone.
    Status(u16),
    /// 302 to there.
    Redirect(String),
    /// A head, and then nothing for a minute.
    Stalls,
    /// A body without end.
    Endless,
    /// Hangs up at once.
    HangsUp,
}

struct Shared {
    answers: Mutex<Answers>,
    fetches: AtomicUsize,
    written: AtomicUsize,
}

/// The server; it ends when dropped.
pub struct KeyServer {
    shared: Arc<Shared>,
    url: String,
    task: AbortHandle,
}

/// The body of a key set.
pub fn set_of(keys: &[Value]) -> Answers {
    Answers::Body(json!({ "keys": keys }).to_string())
}

impl KeyServer {
    /// Starts on a free port.
    pub async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys.json", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            answers: Mutex::new(answers),
            fetches: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.answer(stream).await });
            }
        });
        Self { shared, url, task: task.abort_handle() }
    }

    /// Where the set is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers like this from now on.
    pub fn answer(&self, answers: Answers) {
        *self.shared.answers.lock().expect("no test panicked with it") = answers;
    }

    /// How often the set was asked for.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Bytes of endless bodies that were taken.
    pub fn written(&self) -> usize {
        self.shared.written.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn answer(&self, mut stream: TcpStream) {
        let answers = self.answers.lock().expect("no test panicked with it").clone();
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let mut head = [0; 4096];
        // The request is not long, and comes in one piece.
        if matches!(answers, Answers::HangsUp) || !matches!(stream.read(&mut head).await, Ok(1..)) {
            return;
        }
        let ends = "connection: close\r\n\r\n";
        let text = match &answers {
            Answers::Body(body) => {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{ends}{body}", body.len())
            }
            Answers::Status(status) => format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n{ends}"),
            Answers::Redirect(to) => {
                format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n{ends}")
            }
            _ => format!("HTTP/1.1 200 OK\r\n{ends}"),
        };
        // Whoever asked may have gone.
        let _ = stream.write_all(text.as_bytes()).await;
        match answers {
            Answers::Stalls => tokio::time::sleep(Duration::from_mins(1)).await,
            Answers::Endless => {
                while stream.write_all(&[b' '; 4096]).await.is_ok() {
                    self.written.fetch_add(4096, Ordering::SeqCst);
                }
            }
            _ => {}
        }
    }
}
