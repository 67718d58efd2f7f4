//! The writer as a process of its own.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fama_storage::ErrorKind;
use fama_storage::embedded::{EmbeddedStore, Health};

use crate::workload;

const PATH: &str = "FAMA_CRASH_PATH";
const FIRST: &str = "FAMA_CRASH_FIRST";
/// Acknowledges before the data is on disk, where that is compiled in.
pub const EARLY: &str = "FAMA_CRASH_EARLY";
const TASKS: u64 = 16;
/// Writes of one process.
const WRITES: u64 = 20_000;

/// The writer: does numbered writes and prints `ack <number>` for each. Without the variables it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    #[cfg_attr(not(feature = "mutants"), allow(unused_mut))]
    let mut options = workload::options();
    #[cfg(feature = "mutants")]
    {
        options.acknowledge_early = std::env::var_os(EARLY).is_some();
    }
    let store = EmbeddedStore::open(&path, options).unwrap();
    say("open", first);
    let next = Arc::new(AtomicU64::new(first));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(write_all(store.clone(), next.clone(), first + WRITES));
    }
    let failed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    if failed.is_empty() {
        return;
    }
    // Writing has failed: nothing more may be acknowledged, and reads go on.
    assert!(failed.iter().all(|kind| *kind == ErrorKind::Poisoned), "{failed:?}");
    let stores = store.stores();
    for number in 0..20 {
        let error = workload::write(&stores, first + WRITES + number).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
    }
    assert_eq!(store.health(), Health::Poisoned);
    assert!(!workload::is_there(&stores, first + 2 * WRITES).await);
    say("poisoned", first);
}

async fn write_all(store: EmbeddedStore, next: Arc<AtomicU64>, end: u64) -> Option<ErrorKind> {
    let stores = store.stores();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return None;
        }
        match workload::write(&stores, number).await {
            Ok(()) => say("ack", number),
            Err(error) => return Some(error.kind()),
        }
    }
}

/// One line, in one write, past the test harness's capture.
fn say(word: &str, number: u64) {
    let line = format!("\n{word} {number}\n");
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
    let _ = std::io::stdout().lock().flush();
}

/// What a writer has said so far.
#[derive(Debug, Default)]
pub struct Said {
    pub acknowledged: BTreeSet<u64>,
    pub open: bool,
    pub poisoned: bool,
}

impl Said {
    fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("ack", number)) => drop(self.acknowledged.insert(number.parse().unwrap())),
            Some(("open", _)) => self.open = true,
            Some(("poisoned", _)) => self.poisoned = true,
            _ => {}
        }
    }
}

/// A running writer.
pub struct Writer {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: Said,
}

impl Writer {
    /// Starts a writer on a directory, from a number on, under another program if one is given.
    pub fn start(path: &Path, first: u64, under: &[&str], early: bool) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut command = match under {
            [] => Command::new(&this),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&this);
                command
            }
        };
        command.args(["--exact", "process::the_writer", "--nocapture", "--test-threads=1"]);
        command.env(PATH, path).env(FIRST, first.to_string());
        if early {
            command.env(EARLY, "1");
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, said: Said::default() }
    }

    /// Waits until it has acknowledged so many.
    pub fn wait_for(&mut self, acknowledged: usize) {
        while self.said.acknowledged.len() < acknowledged {
            let line = self.lines.recv_timeout(Duration::from_secs(20)).expect("the writer is stuck");
            self.said.hear(&line);
        }
    }

    /// Kills it with SIGKILL after a while, and returns all it has said.
    pub fn kill_after(mut self, wait: Duration) -> Said {
        std::thread::sleep(wait);
        self.child.kill().unwrap();
        self.finish()
    }

    /// Waits until it ends by itself.
    pub fn finish(mut self) -> Said {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) {
            self.said.hear(&line);
        }
        let _ = self.child.kill();
        self.child.wait().unwrap();
        self.said
    }
}
