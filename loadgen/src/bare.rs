//! The limit of a broadcast: one thread, one `write(2)` per socket and message, nothing else.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, Result};

/// Accepts sockets, then writes a frame to each, `rounds` times; prints `address`, then, for each round group, CPU
/// and wall seconds.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub fn write_loop(sockets: usize, bytes: usize, rounds: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let mut peers = Vec::with_capacity(sockets);
    while peers.len() < sockets {
        let (peer, _) = listener.accept()?;
        peer.set_nonblocking(true)?;
        peer.set_nodelay(true)?;
        peers.push(peer);
    }
    let frame = vec![b'x'; bytes];
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("no go")?;
    let (cpu, start) = (crate::target::cpu_of(std::process::id())?, Instant::now());
    for _ in 0..rounds {
        for peer in &mut peers {
            let mut rest = &frame[..];
            while !rest.is_empty() {
                match peer.write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    let wall = start.elapsed().as_secs_f64();
    println!("cpu {} wall {wall}", crate::target::cpu_of(std::process::id())? - cpu);
    Ok(())
}
