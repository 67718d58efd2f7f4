//! The limit of a broadcast: a thread for each core, as the server has, and one `write(2)` per socket and message.

use std::io::{BufRead, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Accepts sockets and prints its address; then, for each line with a number, writes a frame that often to each of them
/// and prints the CPU seconds that took. Ends with its input.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub fn write_loop(sockets: usize, frame: &str) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let mut peers = Vec::with_capacity(sockets);
    while peers.len() < sockets {
        let (peer, _) = listener.accept()?;
        peer.set_nonblocking(true)?;
        peer.set_nodelay(true)?;
        peers.push(peer);
    }
    for line in std::io::stdin().lock().lines() {
        let rounds: usize = line?.trim().parse().context("not a number of rounds")?;
        let before = cpu();
        std::thread::scope(|scope| {
            let threads: Vec<_> = peers
                .chunks_mut(sockets.div_ceil(cores).max(1))
                .map(|share| scope.spawn(|| broadcast(share, frame, rounds)))
                .collect();
            let ends = threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
            ends.collect::<Result<Vec<()>>>()
        })?;
        println!("cpu {}", cpu() - before);
    }
    Ok(())
}

/// CPU that this process used so far, seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn broadcast(peers: &mut [TcpStream], frame: &str, rounds: usize) -> Result<()> {
    for _ in 0..rounds {
        for peer in &mut *peers {
            write(peer, frame.as_bytes())?;
        }
    }
    Ok(())
}

fn write(peer: &mut TcpStream, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        match peer.write(rest) {
            Ok(n) => rest = &rest[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
