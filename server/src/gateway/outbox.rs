//! What goes out on one socket. Writes go straight to the socket; only what it does not take now is kept, and only so much.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

/// What an entry of the queue costs besides its bytes.
const ENTRY: usize = 32;
/// Pieces written with one call.
const PIECES: usize = 64;

/// A socket that can be written to without waiting.
pub trait TryWrite {
    /// Writes what it can take now of the pieces.
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// How sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All is with the system.
    Written,
    /// Some of it waits for the socket.
    Waits,
    /// More waits than may.
    Full,
    /// The socket is broken.
    Broken,
}

#[derive(Debug, Default)]
struct Pending {
    queue: VecDeque<Bytes>,
    /// Of the queue and of what is held, with [`ENTRY`] for each.
    bytes: usize,
    /// The first of the queue is the rest of something that was begun.
    begun: bool,
    /// Frames that have to wait for the answer to `connect`.
    held: Option<Vec<Bytes>>,
    /// The latest pong: one is enough.
    pong: Option<Bytes>,
    /// The first of the queue is a pong.
    pong_first: bool,
    /// When the socket last took something.
    since_ms: u64,
}

/// The outgoing side of a connection.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: Option<Box<Pending>>,
}

impl Outbox {
    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.bytes)
    }

    /// Whether something waits for the socket.
    pub fn is_blocked(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.queue.is_empty() || pending.pong.is_some())
    }

    /// Since when the socket took nothing although something waits.
    pub fn blocked_since(&self) -> Option<u64> {
        self.pending.as_ref().filter(|_| self.is_blocked()).map(|pending| pending.since_ms)
    }

    /// Keeps back everything but [`Outbox::reply`] until [`Outbox::release`].
    pub fn hold(&mut self) {
        self.pending.get_or_insert_default().held.get_or_insert_default();
    }

    /// Sends what was kept back.
    pub fn release(&mut self, socket: &impl TryWrite, now_ms: u64) -> Sent {
        let Some(held) = self.pending.as_mut().and_then(|pending| pending.held.take()) else {
            return Sent::Written;
        };
        if let Some(pending) = &mut self.pending {
            if pending.queue.is_empty() {
                pending.since_ms = now_ms;
            }
            pending.queue.extend(held);
        }
        self.flush(socket, now_ms)
    }

    /// Sends one or more whole frames that may be shared with other connections.
    pub fn send(&mut self, socket: &impl TryWrite, frames: &Bytes, limit: usize, now_ms: u64) -> Sent {
        if self.pending.is_some() {
            return self.queue(frames.clone(), limit, true);
        }
        match write(socket, &[IoSlice::new(frames)]) {
            Ok(written) if written == frames.len() => Sent::Written,
            Ok(written) => self.wait_for(frames.slice(written..), written, now_ms),
            Err(()) => Sent::Broken,
        }
    }

    /// Sends one frame in three parts, of which the middle one may be shared with other connections.
    pub fn send_parts(
        &mut self,
        socket: &impl TryWrite,
        (head, shared, tail): (&[u8], &Bytes, &[u8]),
        limit: usize,
        now_ms: u64,
    ) -> Sent {
        if self.pending.is_some() {
            return self.queue([head, shared, tail].concat().into(), limit, true);
        }
        let pieces = [IoSlice::new(head), IoSlice::new(shared), IoSlice::new(tail)];
        let len = head.len() + shared.len() + tail.len();
        match write(socket, &pieces) {
            Ok(written) if written == len => Sent::Written,
            Ok(written) => {
                let rest = Bytes::from([head, shared, tail].concat()).slice(written..);
                self.wait_for(rest, written, now_ms)
            }
            Err(()) => Sent::Broken,
        }
    }

    /// Sends a frame that does not wait for [`Outbox::release`].
    pub fn reply(&mut self, socket: &impl TryWrite, frame: Vec<u8>, limit: usize, now_ms: u64) -> Sent {
        let frame = Bytes::from(frame);
        if self.is_blocked() {
            return self.queue(frame, limit, false);
        }
        match write(socket, &[IoSlice::new(&frame)]) {
            Ok(written) if written == frame.len() => Sent::Written,
            Ok(written) => self.wait_for(frame.slice(written..), written, now_ms),
            Err(()) => Sent::Broken,
        }
    }

    /// Sends a pong. If it has to wait, only the latest is sent.
    pub fn pong(&mut self, socket: &impl TryWrite, frame: Vec<u8>, limit: usize, now_ms: u64) -> Sent {
        match &mut self.pending {
            Some(pending) if !pending.queue.is_empty() => {
                match pending.queue.front_mut().filter(|_| pending.pong_first && !pending.begun) {
                    Some(first) => {
                        pending.bytes = pending.bytes + frame.len() - first.len();
                        *first = frame.into();
                    }
                    None => pending.pong = Some(frame.into()),
                }
                Sent::Waits
            }
            _ => {
                let sent = self.reply(socket, frame, limit, now_ms);
                if let Some(pending) = self.pending.as_mut().filter(|_| sent == Sent::Waits) {
                    pending.pong_first = true;
                }
                sent
            }
        }
    }

    /// Drops what waits, save for the rest of a frame that was begun.
    pub fn clear(&mut self) {
        let Some(pending) = &mut self.pending else { return };
        pending.queue.truncate(usize::from(pending.begun));
        pending.bytes = pending.queue.iter().map(|bytes| bytes.len() + ENTRY).sum();
        (pending.held, pending.pong) = (None, None);
        if pending.queue.is_empty() {
            self.pending = None;
        }
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self, socket: &impl TryWrite, now_ms: u64) -> Sent {
        loop {
            let Some(pending) = &mut self.pending else { return Sent::Written };
            if let Some(pong) = pending.pong.take_if(|_| !pending.begun) {
                pending.bytes += pong.len() + ENTRY;
                pending.queue.push_front(pong);
                pending.pong_first = true;
            }
            if pending.queue.is_empty() {
                if pending.held.is_none() {
                    self.pending = None;
                }
                return Sent::Written;
            }
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = pending.queue.len().min(PIECES);
            for (piece, bytes) in pieces.iter_mut().zip(&pending.queue) {
                *piece = IoSlice::new(bytes);
            }
            match write(socket, &pieces[..count]) {
                Ok(0) => return Sent::Waits,
                Ok(written) => pending.wrote(written, now_ms),
                Err(()) => return Sent::Broken,
            }
        }
    }

    fn queue(&mut self, frame: Bytes, limit: usize, may_hold: bool) -> Sent {
        let pending = self.pending.get_or_insert_default();
        pending.bytes += frame.len() + ENTRY;
        if pending.bytes > limit {
            pending.bytes -= frame.len() + ENTRY;
            return Sent::Full;
        }
        match &mut pending.held {
            Some(held) if may_hold => held.push(frame),
            _ => pending.queue.push_back(frame),
        }
        Sent::Waits
    }

    fn wait_for(&mut self, rest: Bytes, written: usize, now_ms: u64) -> Sent {
        let pending = self.pending.get_or_insert_default();
        pending.bytes += rest.len() + ENTRY;
        pending.begun = written > 0;
        pending.since_ms = now_ms;
        pending.queue.push_front(rest);
        Sent::Waits
    }
}

impl Pending {
    fn wrote(&mut self, mut written: usize, now_ms: u64) {
        self.since_ms = now_ms;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                self.begun |= written > 0;
                let _ = front.split_to(written);
                self.bytes -= written;
                return;
            }
            written -= front.len();
            self.bytes -= front.len() + ENTRY;
            self.queue.pop_front();
            (self.begun, self.pong_first) = (false, false);
        }
    }
}

/// Writes once; 0 if the socket takes nothing now.
fn write(socket: &impl TryWrite, pieces: &[IoSlice<'_>]) -> Result<usize, ()> {
    loop {
        match socket.try_write(pieces) {
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(()),
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
