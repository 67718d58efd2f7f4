//! Acknowledged posts per second through the whole store, against bare group commit of the same rows on the same disk.
//!
//! `cargo run --release -p fama-storage --features embedded --example commit_rate -- [directory] [seconds] [in flight]`
//!
//! Bare group commit is one thread that drains a channel into one batch of the database, commits it with one sync, and
//! answers all: no reads, no checks, rows of fixed bytes. The two take turns, three rounds each, both on a database that
//! was closed and opened again, as after a restart: journals are made longer beforehand only when they are new, which
//! makes syncs of little data cheaper. With few writes in flight the disk decides, with many the processor; the
//! writers' own processor time is printed as well.

#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use fama_protocol::{AppId, NodeNumber, PostId, UnixMs, UserId};
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use fama_storage::{Delivery, Post, Visibility};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const AUTHORS: u64 = 10_000;
const TEXT_BYTES: usize = 300;
const ROUNDS: usize = 3;

/// What one run reached.
#[derive(Default, Clone, Copy)]
struct Run {
    posts: u64,
    seconds: f64,
    commits: u64,
    /// Processor time of the writing thread.
    cpu_seconds: f64,
    /// What the journal holds, for a check that both write the same.
    journal_bytes: u64,
}

impl Run {
    fn rate(&self) -> f64 {
        as_f64(self.posts) / self.seconds
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<6} {:>9.0} posts/s   {:>6.0} commits/s   {:>6.1} posts a commit   {:>5.0} B a post   {:>5.1} µs CPU of the writer a post",
            self.rate(),
            as_f64(self.commits) / self.seconds,
            as_f64(self.posts) / as_f64(self.commits),
            as_f64(self.journal_bytes) / as_f64(self.posts),
            self.cpu_seconds * 1e6 / as_f64(self.posts),
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "rates")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn author(number: u64) -> anyhow::Result<UserId> {
    Ok(UserId::new(&format!("author-{:05}", number % AUTHORS))?)
}

fn post(number: u64, author: UserId) -> anyhow::Result<Post> {
    let at = UnixMs(PostId::EPOCH.0 + 10_000_000_000 + number);
    Ok(Post {
        id: PostId::from_parts(at, NodeNumber::new(1).context("a node number")?, 0),
        author,
        kind: "post".to_owned(),
        text: Some("t".repeat(TEXT_BYTES)),
        data: None,
        reply_to: None,
        repost_of: None,
        mentions: Vec::new(),
        visibility: Visibility::Public,
        attachments: None,
        created_at: at,
        updated_at: at,
        rev: 1,
        delivery: Delivery::Push,
        deleted: false,
    })
}

/// Bytes of a database's newest journal, without the zeros that it is made longer with.
fn journal_bytes(database: &Path) -> anyhow::Result<u64> {
    let mut journals: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(database)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            journals.push(path);
        }
    }
    let mut total = 0;
    for path in journals {
        let bytes = std::fs::read(path)?;
        total += bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    }
    Ok(total)
}

/// Processor time of this process's thread with a name, by the kernel's count of hundredths of seconds.
fn cpu_seconds(thread: &str) -> anyhow::Result<f64> {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        if head.ends_with(thread) {
            let fields: Vec<&str> = tail.split(' ').collect();
            ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        }
    }
    Ok(as_f64(ticks) / 100.0)
}

async fn through_the_store(path: &Path, length: Duration, in_flight: u64) -> anyhow::Result<Run> {
    drop(EmbeddedStore::open(path, EmbeddedOptions::default())?);
    let store = EmbeddedStore::open(path, EmbeddedOptions::default())?;
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (stores, next) = (store.stores(), next.clone());
        tasks.spawn(async move {
            let app = AppId::default();
            let mut posts = 0;
            while start.elapsed() < length {
                let number = next.fetch_add(1, Relaxed);
                let post = post(number, author(number)?)?;
                stores.posts.insert(&app, &post, None, post.created_at).await?;
                posts += 1;
            }
            anyhow::Ok(posts)
        });
    }
    let mut run = Run::default();
    for posts in tasks.join_all().await {
        run.posts += posts?;
    }
    run.seconds = start.elapsed().as_secs_f64();
    run.commits = store.stats().commits;
    run.cpu_seconds = cpu_seconds("store-writer")?;
    drop(store);
    run.journal_bytes = journal_bytes(&path.join("db"))?;
    Ok(run)
}

/// One post's rows, as long as those of the store: key and value of each.
fn rows(number: u64) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
    let key = |length: usize| {
        let mut key = vec![b'k'; length - 8];
        key.extend_from_slice(&number.to_be_bytes());
        key
    };
    let author = format!("default\0s{:012}", number % AUTHORS).into_bytes();
    vec![
        (0, key(17), vec![b'v'; 24 + 13 + TEXT_BYTES]),
        (1, key(30), vec![1; 3]),
        (1, author, vec![1; 11]),
        (2, key(30), vec![1; 31]),
        (3, key(40), vec![1; 1]),
    ]
}

type Request = (u64, oneshot::Sender<()>);

/// Drains the channel into one batch after the other. The number of commits.
fn commit_all(
    database: &Database,
    keyspaces: &[Keyspace],
    mut requests: mpsc::Receiver<Request>,
) -> fjall::Result<u64> {
    let mut waiting = Vec::new();
    let mut commits = 0;
    while requests.blocking_recv_many(&mut waiting, 1_024) > 0 {
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        for (number, _) in &waiting {
            for (keyspace, key, value) in rows(*number) {
                batch.insert(&keyspaces[keyspace], key, value);
            }
        }
        batch.commit()?;
        commits += 1;
        for (_, reply) in waiting.drain(..) {
            let _ = reply.send(());
        }
    }
    Ok(commits)
}

fn open_bare(path: &Path) -> fjall::Result<(Database, Vec<Keyspace>)> {
    let database = Database::builder(path).worker_threads(1).open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(16 << 20);
    let keyspaces = ["posts", "index", "work", "time"].iter().map(|name| database.keyspace(name, options));
    let keyspaces = keyspaces.collect::<fjall::Result<Vec<_>>>()?;
    Ok((database, keyspaces))
}

async fn bare(path: &Path, length: Duration, in_flight: u64) -> anyhow::Result<Run> {
    drop(open_bare(path)?);
    let (database, keyspaces) = open_bare(path)?;
    let (sender, receiver) = mpsc::channel(4_096);
    let writer = std::thread::Builder::new()
        .name("bare-writer".to_owned())
        .spawn(move || commit_all(&database, &keyspaces, receiver))?;
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (sender, next) = (sender.clone(), next.clone());
        tasks.spawn(async move {
            let mut posts = 0;
            while start.elapsed() < length {
                let (reply, answer) = oneshot::channel();
                sender.send((next.fetch_add(1, Relaxed), reply)).await?;
                answer.await?;
                posts += 1;
            }
            anyhow::Ok(posts)
        });
    }
    let mut run = Run::default();
    for posts in tasks.join_all().await {
        run.posts += posts?;
    }
    run.seconds = start.elapsed().as_secs_f64();
    run.cpu_seconds = cpu_seconds("bare-writer")?;
    drop(sender);
    run.commits = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    run.journal_bytes = journal_bytes(path)?;
    Ok(run)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let length = Duration::from_secs_f64(arguments.next().unwrap_or_else(|| "2".to_owned()).parse()?);
    let in_flight: Vec<u64> = match arguments.next() {
        Some(number) => vec![number.parse()?],
        None => vec![1, 16, 64, 256, 1_024],
    };
    for in_flight in in_flight {
        println!("{in_flight} in flight, {TEXT_BYTES} B of text, {ROUNDS} rounds of {length:?}");
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let dir = tempfile::tempdir_in(&directory)?;
            let store = through_the_store(&dir.path().join("store"), length, in_flight).await?;
            store.print("store");
            let bare = bare(&dir.path().join("bare"), length, in_flight).await?;
            bare.print("bare");
            ratios.push(store.rate() / bare.rate());
        }
        ratios.sort_by(f64::total_cmp);
        println!("ratio  {:.2} (median; {ratios:.2?})\n", ratios[ROUNDS / 2]);
    }
    Ok(())
}
