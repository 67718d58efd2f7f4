//! `fama import`: follows from CSV and posts from newline-delimited JSON, into the store or through a running server.
//!
//! Input is read in windows. After each the place is written to a state file beside the input, so that an import that
//! was stopped goes on there; a window that was done in part is done again, which changes nothing: its records have the
//! same names, and the same ids where they are given here.

mod follows;
mod http;
mod posts;
mod state;
mod store;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fama_protocol::{PostId, UnixMs, UserId};

pub use http::HttpTarget;
pub use store::StoreTarget;

use crate::api::post_body::Draft;
use state::StateFile;

/// Records of a window.
const WINDOW: usize = 2_000;
/// Bytes of a line.
const MAX_LINE: usize = 128 * 1024;
/// Calls under way at once.
const WIDTH: usize = 64;

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CSV: `follower,followee`.
    Follows,
    /// Newline-delimited JSON: a post's fields, `author` and perhaps `created_at`.
    Posts,
}

/// Where the input comes from.
pub enum Input<'a> {
    /// A file; its place is kept beside it.
    File(PathBuf),
    /// Bytes at hand; they are imported in one go.
    Bytes(&'a [u8]),
}

/// Who follows whom, with the line of the first of them.
#[derive(Debug, Clone)]
pub struct FollowBatch {
    /// Line in the input, from 1.
    pub line: u64,
    /// Who follows.
    pub follower: UserId,
    /// Whom: 1 to 1,000.
    pub authors: Vec<UserId>,
}

/// A post with its line.
#[derive(Debug, Clone)]
pub struct PostRecord {
    /// Line in the input, from 1.
    pub line: u64,
    /// Names the record: the same one is published once.
    pub key: String,
    /// Who posted.
    pub author: UserId,
    /// When; now if it is not told.
    pub created_at: Option<UnixMs>,
    /// The post.
    pub draft: Draft,
    /// The post as JSON, for servers.
    pub json: String,
    /// Its id, if the target gives them out beforehand.
    pub id: Option<PostId>,
}

/// Where records go. Everything may be repeated and then changes nothing.
#[async_trait]
pub trait Target: Send + Sync {
    /// Names it: a place in the input is kept for one target only.
    fn name(&self) -> String;
    /// Follows.
    async fn follow(&self, batch: FollowBatch) -> Result<(), String>;
    /// Ids for posts that have none, in their order; none for a target that gives them out when it publishes.
    async fn mint(&self, posts: &[PostRecord]) -> Result<Vec<PostId>, ImportError>;
    /// Publishes, each author's posts in the order given.
    async fn publish(&self, posts: Vec<PostRecord>) -> Result<(), ImportError>;
}

/// Why an import stopped. What was done before the line is done, and is not done again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line that can't be imported.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// The input or the state file.
    #[error("{0}")]
    File(String),
}

/// Told how far it is.
pub trait Progress {
    /// So many bytes of all are done, and so many records.
    fn at(&mut self, bytes: u64, total: u64, records: u64);
    /// Goes on after an earlier import that stopped behind this line.
    fn resumed(&mut self, line: u64);
}

/// Imports everything; how many records there were.
pub async fn run(
    kind: Kind,
    input: Input<'_>,
    target: &dyn Target,
    progress: &mut dyn Progress,
) -> Result<u64, ImportError> {
    let mut source = Source::open(input, &target.name())?;
    if source.line > 0 {
        progress.resumed(source.line);
    }
    let mut records = 0;
    loop {
        progress.at(source.offset, source.total, records);
        let lines = source.window()?;
        if lines.is_empty() {
            break;
        }
        records += match kind {
            Kind::Follows => follows::import(&lines, target).await?,
            Kind::Posts => posts::import(&lines, &mut source, target).await?,
        };
        source.done(&lines)?;
    }
    source.finish();
    Ok(records)
}

/// A line of the input.
pub(crate) struct Line {
    pub number: u64,
    pub end: u64,
    pub text: String,
}

/// The input and the place in it.
pub(crate) struct Source<'a> {
    reader: Box<dyn BufRead + Send + 'a>,
    state: Option<StateFile>,
    name: String,
    offset: u64,
    line: u64,
    total: u64,
    /// Behind the lines read.
    ahead: (u64, u64),
}

impl<'a> Source<'a> {
    fn open(input: Input<'a>, target: &str) -> Result<Self, ImportError> {
        let path = match input {
            Input::Bytes(bytes) => {
                return Ok(Self {
                    total: bytes.len() as u64,
                    name: state::fingerprint(bytes),
                    reader: Box::new(bytes),
                    state: None,
                    offset: 0,
                    line: 0,
                    ahead: (0, 0),
                });
            }
            Input::File(path) => path,
        };
        let error =
            |error: std::io::Error| ImportError::File(format!("can't read {}: {error}", path.display()));
        let mut file = File::open(&path).map_err(error)?;
        let total = file.metadata().map_err(error)?.len();
        let mut head = Vec::new();
        file.by_ref().take(state::HEAD).read_to_end(&mut head).map_err(error)?;
        let state = StateFile::beside(&path, head, target)?;
        let name = state.name().to_owned();
        let (offset, line) = state.place();
        file.seek(SeekFrom::Start(offset)).map_err(error)?;
        let reader = Box::new(BufReader::new(file));
        Ok(Self { reader, state: Some(state), name, offset, line, total, ahead: (offset, line) })
    }

    fn window(&mut self) -> Result<Vec<Line>, ImportError> {
        let mut lines = Vec::new();
        while lines.len() < WINDOW {
            let (end, number) = (self.ahead.0, self.ahead.1 + 1);
            let mut bytes = Vec::new();
            let most = MAX_LINE as u64 + 1;
            let read = self.reader.by_ref().take(most).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| ImportError::File(format!("can't read the input: {error}")))?;
            if read == 0 {
                break;
            }
            if bytes.len() > MAX_LINE {
                return Err(ImportError::Line {
                    line: number,
                    why: format!("has more than {MAX_LINE} bytes"),
                });
            }
            self.ahead = (end + read as u64, number);
            let text = String::from_utf8(bytes)
                .map_err(|_| ImportError::Line { line: number, why: "is not UTF-8".into() })?;
            let text = text.trim_end_matches(['\r', '\n']).trim_start_matches('\u{feff}').to_owned();
            lines.push(Line { number, end: self.ahead.0, text });
        }
        Ok(lines)
    }

    fn done(&mut self, lines: &[Line]) -> Result<(), ImportError> {
        if let Some(last) = lines.last() {
            (self.offset, self.line) = (last.end, last.number);
        }
        match &mut self.state {
            Some(state) => state.advance(self.offset, self.line),
            None => Ok(()),
        }
    }

    /// Gives posts their ids: those of an import that stopped in this window, or new ones, which are kept first.
    async fn give_ids(&mut self, posts: &mut [PostRecord], target: &dyn Target) -> Result<(), ImportError> {
        let kept: HashMap<u64, PostId> = self.state.iter().flat_map(StateFile::ids).copied().collect();
        if !kept.is_empty() {
            for post in posts.iter_mut() {
                post.id = kept.get(&post.line).copied();
            }
            if posts.iter().all(|post| post.id.is_some()) {
                return Ok(());
            }
        }
        let without: Vec<PostRecord> = posts.iter().filter(|post| post.id.is_none()).cloned().collect();
        let mut minted = target.mint(&without).await?.into_iter();
        for post in posts.iter_mut().filter(|post| post.id.is_none()) {
            post.id = minted.next();
        }
        let ids: Vec<_> = posts.iter().filter_map(|post| Some((post.line, post.id?))).collect();
        match &mut self.state {
            Some(state) if !ids.is_empty() => state.keep_ids(ids),
            _ => Ok(()),
        }
    }

    fn finish(self) {
        if let Some(state) = self.state {
            state.remove();
        }
    }
}

/// What the state file of an input is called.
pub fn state_path(input: &Path) -> PathBuf {
    let mut name = input.file_name().unwrap_or_default().to_os_string();
    name.push(".fama-import");
    input.with_file_name(name)
}
