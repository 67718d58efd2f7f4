//! What happened in a run, as seen from outside: one line of JSON per event, one clock.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// How a request ended. A request whose answer never came may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acknowledged.
    Ok,
    /// Refused: it did not happen.
    Fail,
    /// Nobody knows.
    Info,
}

/// What relation a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Follows.
    Follow,
    /// Blocks: ends follows both ways and hides both from each other.
    Block,
    /// Mutes: hides.
    Mute,
}

/// A post as a reader saw it. The nonce is the text its author gave it: it proves which request made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its id.
    pub id: u64,
    /// Who wrote it.
    pub author: String,
    /// Its text.
    pub nonce: String,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum What {
    /// A request to publish.
    Post {
        /// Who.
        author: String,
        /// The text.
        nonce: String,
        /// The idempotency key, if any.
        key: Option<String>,
        /// How it ended.
        outcome: Outcome,
        /// The id, if it is known.
        id: Option<u64>,
    },
    /// A request to delete a post.
    Delete {
        /// Which.
        id: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// A request to set or undo a relation.
    Relate {
        /// Who.
        user: String,
        /// Which.
        relation: Relation,
        /// Towards whom.
        target: String,
        /// Set or undone.
        active: bool,
        /// How it ended.
        outcome: Outcome,
    },
    /// A feed walked from the newest post to the end.
    Walk {
        /// Whose.
        user: String,
        /// What was there, in the order given.
        posts: Vec<Seen>,
        /// How it ended; only a walk that is `Ok` got to the end.
        outcome: Outcome,
        /// Read when all faults were over and everything had time to settle.
        last: bool,
    },
    /// A session of a user began. It may go through any number of connections.
    Open {
        /// Its name.
        session: String,
        /// Whose.
        user: String,
    },
    /// The session was told where it stands in a channel: at the start, or after losing continuity.
    At {
        /// Which session.
        session: String,
        /// Which channel.
        channel: String,
        /// The last publication before.
        offset: u64,
        /// Continuity was lost, and said so.
        gap: bool,
    },
    /// A publication reached the session.
    Recv {
        /// Which session.
        session: String,
        /// By which channel.
        channel: String,
        /// Its place there.
        offset: u64,
        /// The post of a `post.created`; other events only take their place.
        created: Option<Seen>,
    },
    /// The session ended, after everything had time to arrive.
    Ended {
        /// Which session.
        session: String,
    },
    /// A fault was injected, or taken away.
    Fault {
        /// Which.
        what: String,
        /// Injected or taken away.
        active: bool,
    },
}

/// An event. Times are microseconds since the recorder began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the request was sent; for everything else, when it happened.
    pub began: u64,
    /// When the answer was there.
    pub ended: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// Collects events from any number of tasks.
pub struct Recorder {
    start: Instant,
    entries: Mutex<Vec<Entry>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { start: Instant::now(), entries: Mutex::new(Vec::new()) }
    }
}

impl Recorder {
    /// Microseconds since the recorder began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).expect("a short run")
    }

    /// Something that happened now.
    pub fn event(&self, what: What) {
        self.request(self.now(), what);
    }

    /// A request that was sent at `began` and is answered now.
    pub fn request(&self, began: u64, what: What) {
        let ended = self.now().max(began);
        self.entries.lock().expect("no task panicked with the history").push(Entry { began, ended, what });
    }

    /// Everything so far, in the order of endings.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.entries.lock().expect("no task panicked with the history").clone();
        entries.sort_by_key(|entry| entry.ended);
        entries
    }

    /// Writes the history for later: one JSON object a line.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for entry in self.entries() {
            serde_json::to_writer(&mut file, &entry)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }
}

/// Reads a history that [`Recorder::save`] wrote.
pub fn load(path: &Path) -> std::io::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)?;
    text.lines().map(|line| serde_json::from_str(line).map_err(std::io::Error::other)).collect()
}
