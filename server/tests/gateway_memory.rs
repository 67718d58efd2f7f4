//! What an idle connection costs in memory. Run alone and with `--release` for figures:
//! `cargo test --release -p fama-server --test gateway_memory -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the other suites")]
mod gateway_world;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gateway_world::world;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HEAD: &str = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n";

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Opens connections of users from `from` to `to`, each subscribed to its own channel; a hundred at a time.
fn open(address: SocketAddr, from: usize, to: usize) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(to - from);
    for begin in (from..to).step_by(100) {
        let mut some: Vec<_> = (begin..(begin + 100).min(to))
            .map(|n| {
                let mut socket = TcpStream::connect(address).unwrap();
                let command = format!("{{\"id\":1,\"connect\":{{\"token\":\"user-{n:08}\"}}}}");
                let mut bytes = HEAD.as_bytes().to_vec();
                bytes.extend([0x81, 0x80 | u8::try_from(command.len()).unwrap(), 0, 0, 0, 0]);
                bytes.extend(command.as_bytes());
                socket.write_all(&bytes).unwrap();
                socket
            })
            .collect();
        for socket in &mut some {
            let (mut read, mut buffer) = (Vec::new(), [0; 1024]);
            while !read.windows(6).any(|window| window == b"offset" || window == b"epoch\"") {
                let len = socket.read(&mut buffer).unwrap();
                assert!(len > 0, "{}", String::from_utf8_lossy(&read));
                read.extend_from_slice(&buffer[..len]);
            }
        }
        all.append(&mut some);
    }
    all
}

/// The other end, in a process of its own: opens what it is told to, says so, and holds it until its input ends.
#[test]
#[ignore = "is started by the measurement"]
fn other_end() {
    let Ok(told) = std::env::var("OTHER_END") else { return };
    let mut told = told.split(' ');
    let address: SocketAddr = told.next().unwrap().parse().unwrap();
    let mut number = || told.next().unwrap().parse::<usize>().unwrap();
    let held = open(address, number(), number());
    eprintln!("open");
    let _ = std::io::stdin().read(&mut [0]);
    drop(held);
}

struct OtherEnd(Child);

impl OtherEnd {
    fn start(address: SocketAddr, from: usize, to: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "other_end", "--nocapture"])
            .env("OTHER_END", format!("{address} {from} {to}"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("open")), "the other end failed");
        Self(child)
    }
}

impl Drop for OtherEnd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "measures, and wants the machine for itself"]
fn an_idle_connection_is_small() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(world(|config| config.ping_s = 10_000));
    let address = world.handle.local_addr();
    let count: usize = std::env::var("CONNECTIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(18_000);
    let _warm = open(address, 0, 100);
    std::thread::sleep(Duration::from_secs(1));
    let (empty, began) = (resident(), Instant::now());
    let mut held = Vec::new();
    let (mut before, mut open) = (empty, 100);
    for _ in 0..6 {
        let upto = open + count / 6;
        held.push(OtherEnd::start(address, open, upto));
        std::thread::sleep(Duration::from_secs(2));
        let now = resident();
        let each = |since: u64, count: usize| now.saturating_sub(since) / count as u64;
        eprintln!(
            "{upto} connections: {} bytes each, the last ones {}",
            each(empty, upto),
            each(before, upto - open)
        );
        (before, open) = (now, upto);
    }
    eprintln!("{} connections in {:?}", world.handle.connections(), began.elapsed());
    drop(held);
    world.handle.stop();
}
