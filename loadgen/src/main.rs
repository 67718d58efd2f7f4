//! Benchmarks of Fama. Each starts a server of its own on a temporary folder, measures it beside the limit that the
//! machine sets (a bare loop of writes, a bare group commit), and prints a row of the table in the README.

mod bare;
mod broadcast;
mod feeds;
mod http;
mod idle;
mod latency;
mod posts;
mod report;
mod socket;
mod target;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use report::Report;

/// Benchmarks of Fama against the limits of this machine.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    /// The program to measure; found beside this one by default.
    #[arg(long, global = true)]
    fama: Option<PathBuf>,
    /// Where servers put their data: the disk to measure. A temporary folder by default.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Every benchmark, then the table.
    All,
    /// Memory of an idle, subscribed connection.
    Idle {
        /// Connections, each of a user of its own.
        #[arg(long, default_value_t = 15_000)]
        connections: usize,
    },
    /// One channel with many subscribers: CPU one publication at a time, messages/s under load.
    Broadcast {
        /// Subscribers.
        #[arg(long, default_value_t = 10_000)]
        subscribers: usize,
        /// Publications one at a time.
        #[arg(long, default_value_t = 100)]
        single: usize,
        /// Publications under load.
        #[arg(long, default_value_t = 600)]
        burst: usize,
    },
    /// Acknowledged posts/s.
    Posts {
        /// Requests in flight.
        #[arg(long, default_value_t = 128)]
        in_flight: usize,
        /// Seconds.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
    },
    /// Feed reads/s.
    Feeds {
        /// Requests in flight.
        #[arg(long, default_value_t = 32)]
        in_flight: usize,
        /// Seconds.
        #[arg(long, default_value_t = 8)]
        seconds: u64,
    },
    /// Time from a post's request to the followers' sockets, under steady load.
    Latency {
        /// Posts per second.
        #[arg(long, default_value_t = 100)]
        rate: u64,
        /// Seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Used by `broadcast`: the bare loop of writes.
    #[command(hide = true)]
    BareWriter {
        /// Sockets to accept.
        sockets: usize,
        /// What it writes.
        frame: String,
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Bench::BareWriter { sockets, frame } = &args.bench {
        return bare::write_loop(*sockets, frame);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let fama = match args.fama {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("fama"),
    };
    anyhow::ensure!(
        fama.exists(),
        "{} is not there: build it with `cargo build --release`, or name it with --fama",
        fama.display()
    );
    let place = target::Place { fama, data: args.data };
    let mut report = Report::default();
    runtime.block_on(run(&args.bench, &place, &mut report)).context("the benchmark stopped")?;
    report.print();
    Ok(())
}

async fn run(bench: &Bench, place: &target::Place, report: &mut Report) -> Result<()> {
    match *bench {
        Bench::All => {
            idle::run(place, 15_000, report).await?;
            broadcast::run(place, 10_000, 100, 600, report).await?;
            posts::run(place, 128, 8, report).await?;
            feeds::run(place, 32, 8, report).await?;
            latency::run(place, 100, 10, report).await
        }
        Bench::Idle { connections } => idle::run(place, connections, report).await,
        Bench::Broadcast { subscribers, single, burst } => {
            broadcast::run(place, subscribers, single, burst, report).await
        }
        Bench::Posts { in_flight, seconds } => posts::run(place, in_flight, seconds, report).await,
        Bench::Feeds { in_flight, seconds } => feeds::run(place, in_flight, seconds, report).await,
        Bench::Latency { rate, seconds } => latency::run(place, rate, seconds, report).await,
        Bench::BareWriter { .. } => Ok(()),
    }
}
