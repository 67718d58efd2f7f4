//! One channel with many subscribers, against a bare loop of `write(2)`: the same bytes, the same number of sockets, read
//! by the same code, in the same run.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::AbortHandle;

use crate::report::Report;
use crate::socket::{Socket, bar, connect_from, open_many};
use crate::target::{Place, Target};

const CHANNEL: &str = "public:bench";
/// Subscribers only read and count: the first ping, which they would have to answer, comes after 150 s.
const SERVER: &str = "ping_s = 300";
const CONFIG: &str = "connections = 30000\nqueue_bytes = 8388608\n[[namespaces]]\nname = \"public\"\nhistory_size = 0\n\
                      subscribe = \"user\"\npublish = \"user\"\n";
/// Twice in a row once in each message. Heads of frames have one as well, but never two: that takes 32 KB.
const MARK: u8 = b'~';
/// Publications at once under load.
const WINDOW: usize = 64;
/// Publications before anything is measured.
const WARM: usize = 5;

struct Cost {
    cpu: f64,
    wall: f64,
}

/// Sockets that are read, and the messages that came over all of them.
struct Readers {
    received: Arc<AtomicUsize>,
    tasks: Vec<AbortHandle>,
}

/// Measures both ways.
pub async fn run(
    place: &Place,
    subscribers: usize,
    single: usize,
    burst: usize,
    report: &mut Report,
) -> Result<()> {
    eprintln!("broadcast: {subscribers} subscribers");
    let target = place.start(SERVER, CONFIG).await?;
    let mut publisher = Socket::open(target.address, 0, &Target::token("publisher")?, None).await?;
    let frame = one_frame(&target, &mut publisher).await?;
    // Before and after ours, because nothing else tells how the machine does at this moment. Not at the same time:
    // processes may not have that many sockets.
    let before = Limit::measure(subscribers, &frame, single / 2, burst / 4).await?;
    let (one, many) = ours(&target, &mut publisher, subscribers, single, burst).await?;
    let after = Limit::measure(subscribers, &frame, single / 2, burst / 4).await?;

    let per_million = |cpu: f64, count: usize| cpu / (subscribers * count) as f64 * 1e6;
    let limit = per_million(before.one.cpu + after.one.cpu, single / 2 * 2);
    let cpu = per_million(one.cpu, single);
    report.add(
        &format!("broadcast to {subscribers}, one at a time, CPU of the server"),
        format!("{cpu:.2} s per million frames ({:.2}×)", cpu / limit),
        format!("{limit:.2} s per million: bare `write(2)` loop on each core, {} B frames", frame.len()),
        "≤ 1.1×",
        Some(cpu / limit <= 1.1),
    );
    let rate = |count: usize, wall: f64| (subscribers * count) as f64 / wall;
    let limit = rate(burst / 4 * 2, before.many.wall + after.many.wall);
    let (ours, cpu) = (rate(burst, many.wall), per_million(many.cpu, burst));
    report.add(
        &format!("broadcast to {subscribers} under load, {WINDOW} publications at once, messages/s"),
        format!("{ours:.0}/s ({:.2}×), {cpu:.2} CPU-s per million", ours / limit),
        format!("{limit:.0}/s: bare `write(2)` loop on each core"),
        "≥ 2×",
        Some(ours / limit >= 2.0),
    );
    Ok(())
}

/// Costs of publications one at a time, and under load.
async fn ours(
    target: &Target,
    publisher: &mut Socket,
    subscribers: usize,
    single: usize,
    burst: usize,
) -> Result<(Cost, Cost)> {
    let progress = bar(subscribers, "subscribing");
    let sockets =
        open_many(target.address, subscribers, &progress, |n| format!("s{n}"), Some(CHANNEL)).await?;
    progress.finish_and_clear();
    let readers = Readers::start(sockets.into_iter().map(Socket::into_stream));
    publish(target, publisher, &readers, subscribers, WARM, 1).await?;
    let one = publish(target, publisher, &readers, subscribers, single, 1).await?;
    let many = publish(target, publisher, &readers, subscribers, burst, WINDOW).await?;
    Ok((one, many))
}

/// Publishes once; the frame that a subscriber gets for it.
async fn one_frame(target: &Target, publisher: &mut Socket) -> Result<String> {
    let mut subscriber = Socket::open(target.address, 0, &Target::token("s0")?, Some(CHANNEL)).await?;
    publisher.publish(CHANNEL, std::iter::once(payload(0))).await?;
    let text = subscriber.next().await?;
    anyhow::ensure!(text.len() > 125 && text.matches("~~").count() == 1, "not the frame expected: {text}");
    // The head of a frame of 126 to 65,535 bytes has 4.
    Ok(format!("head{text}"))
}

fn payload(n: usize) -> String {
    format!("{{\"n\":\"{n:08}\",\"text\":\"~~{}\"}}", "x".repeat(78))
}

impl Readers {
    fn start(streams: impl Iterator<Item = TcpStream>) -> Self {
        let received = Arc::new(AtomicUsize::new(0));
        let tasks = streams.map(|stream| tokio::spawn(count(stream, received.clone())).abort_handle());
        Self { tasks: tasks.collect(), received }
    }

    /// Waits until so many came, and begins to count anew.
    async fn all(&self, wanted: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(2);
        while self.received.load(Ordering::Relaxed) < wanted {
            anyhow::ensure!(Instant::now() < deadline, "not all arrived");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        self.received.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Reads a socket to its end and counts messages.
async fn count(stream: TcpStream, received: Arc<AtomicUsize>) -> Result<()> {
    let mut last = 0;
    loop {
        stream.readable().await?;
        let mut buffer = [0u8; 16 << 10];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => {
                let mut messages = 0;
                for byte in &buffer[..len] {
                    messages += usize::from(*byte == MARK && last == MARK);
                    last = *byte;
                }
                received.fetch_add(messages, Ordering::Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Publishes through a socket, at most `window` publications ahead of what all subscribers have.
async fn publish(
    target: &Target,
    publisher: &mut Socket,
    readers: &Readers,
    subscribers: usize,
    count: usize,
    window: usize,
) -> Result<Cost> {
    let (cpu, start) = (target.cpu()?, Instant::now());
    let mut sent = 0;
    let deadline = start + Duration::from_mins(2);
    while sent < count {
        let done = readers.received.load(Ordering::Relaxed) / subscribers;
        let batch = (count - sent).min((done + window).saturating_sub(sent));
        anyhow::ensure!(Instant::now() < deadline, "not all arrived\n{}", target.log());
        if batch == 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
            continue;
        }
        publisher.publish(CHANNEL, (sent..sent + batch).map(payload)).await?;
        sent += batch;
    }
    readers.all(subscribers * count).await?;
    Ok(Cost { cpu: target.cpu()? - cpu, wall: start.elapsed().as_secs_f64() })
}

/// What the bare loop costs, one at a time and under load.
struct Limit {
    one: Cost,
    many: Cost,
}

impl Limit {
    async fn measure(sockets: usize, frame: &str, single: usize, burst: usize) -> Result<Self> {
        let mut bare = Bare::start(sockets, frame).await?;
        bare.one_by_one(WARM).await?;
        Ok(Self { one: bare.one_by_one(single).await?, many: bare.at_once(burst).await? })
    }
}

/// The bare loop, in a process of its own, with its readers here.
struct Bare {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    readers: Readers,
    sockets: usize,
}

impl Bare {
    async fn start(sockets: usize, frame: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bare-writer", &sockets.to_string(), frame])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = output.next_line().await?.context("the bare writer ended")?;
        let address: SocketAddr = line.trim_start_matches("listening on ").parse()?;
        let mut streams = Vec::with_capacity(sockets);
        for n in 0..sockets {
            streams.push(connect_from(address, n).await?);
        }
        let input = child.stdin.take().context("no input")?;
        Ok(Self { _child: child, input, output, readers: Readers::start(streams.into_iter()), sockets })
    }

    /// Each round begins when the one before was read by all.
    async fn one_by_one(&mut self, rounds: usize) -> Result<Cost> {
        let mut all = Cost { cpu: 0.0, wall: 0.0 };
        for _ in 0..rounds {
            let cost = self.at_once(1).await?;
            all = Cost { cpu: all.cpu + cost.cpu, wall: all.wall + cost.wall };
        }
        Ok(all)
    }

    /// All rounds, one after the other without a pause.
    async fn at_once(&mut self, rounds: usize) -> Result<Cost> {
        let start = Instant::now();
        self.input.write_all(format!("{rounds}\n").as_bytes()).await?;
        let line = self.output.next_line().await?.context("the bare writer ended")?;
        let cpu = line.trim_start_matches("cpu ").parse()?;
        self.readers.all(self.sockets * rounds).await?;
        Ok(Cost { cpu, wall: start.elapsed().as_secs_f64() })
    }
}
