//! A server to measure: its own process, its own folder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const SECRET: &str = "a secret of the benchmarks, long enough for HS256";

/// Which program, and where its data goes.
pub struct Place {
    pub fama: PathBuf,
    pub data: Option<PathBuf>,
}

/// A running server. It ends with this value.
pub struct Target {
    child: Child,
    folder: TempDir,
    pub address: SocketAddr,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

impl Place {
    /// A fresh folder on the disk to measure.
    pub fn folder(&self) -> Result<TempDir> {
        match &self.data {
            Some(path) => {
                std::fs::create_dir_all(path)?;
                Ok(TempDir::new_in(path)?)
            }
            None => Ok(TempDir::new()?),
        }
    }

    /// Starts a server. `server` are lines of that section of its configuration; `config` are lines of `limits`, and
    /// sections after it.
    pub async fn start(&self, server: &str, config: &str) -> Result<Target> {
        let folder = self.folder()?;
        let file = folder.path().join("fama.toml");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{server}\n[storage]\npath = '{}'\n\
             [auth]\nhmac_secret = \"{SECRET}\"\n\
             [limits]\nuser_per_minute = 0\naddress_per_minute = 0\nconnections_per_address = 0\nunauthenticated = 0\n\
             handshakes_per_s = 0\nhandshakes_per_address_per_minute = 0\n{config}\n",
            folder.path().join("store").display()
        );
        std::fs::write(&file, text)?;
        let mut child = Command::new(&self.fama)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log"))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.fama.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let address = loop {
            let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
            let Some(line) = line.context("the server does not say where it listens")?? else {
                let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                bail!("the server ended:\n{log}");
            };
            if let Some(address) = line.split("listening on http://").nth(1) {
                break address.trim().parse()?;
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Target { child, folder, address })
    }
}

impl Target {
    /// A token for a user, good for a day.
    pub fn token(user: &str) -> Result<String> {
        let exp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 86_400;
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        Ok(jsonwebtoken::encode(&jsonwebtoken::Header::default(), &Claims { sub: user, exp }, &key)?)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Resident memory, bytes.
    pub fn rss(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
        Ok(kib * 1024)
    }

    /// CPU used so far, seconds.
    pub fn cpu(&self) -> Result<f64> {
        cpu_of(self.pid()?)
    }

    /// What the server wrote, for messages.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// CPU used by a process, user and system, seconds. Threads' exact run time where the kernel has it, which is finer
/// than the 10 ms ticks of `stat`.
pub fn cpu_of(pid: u32) -> Result<f64> {
    let mut ns = 0u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        ns += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    if ns > 0 {
        return Ok(ns as f64 / 1e9);
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("stat")?.1;
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
