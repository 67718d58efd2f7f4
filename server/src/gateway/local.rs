//! A connection without a socket of its own: a handler of this process is the client, and speaks for a request that is
//! answered by HTTP. To its shard it is a socket like any other, with all limits and all that ends one.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use std::future::poll_fn;

use super::codec::{CLOSE, PING};

/// Bytes on the way to the handler. Beyond it the shard queues, as for a socket that takes no more.
const CAPACITY: usize = 16 << 10;
/// A masked pong without a payload; the mask is zero.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

#[derive(Debug, Default)]
struct State {
    to_handler: Vec<u8>,
    to_shard: Vec<u8>,
    handler: Option<Waker>,
    shard_reads: Option<Waker>,
    shard_writes: Option<Waker>,
    /// Nothing more comes from the shard.
    is_shut: bool,
    /// The handler is gone.
    is_left: bool,
}

type Pipe = Arc<Mutex<State>>;

fn lock(pipe: &Pipe) -> MutexGuard<'_, State> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes after the lock is given back: who is woken may take it at once.
fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

/// Both ends of a new connection.
pub fn pair() -> (ShardEnd, Local) {
    let pipe = Pipe::default();
    (ShardEnd(Arc::clone(&pipe)), Local { pipe, read: Vec::new(), at: 0 })
}

/// The end that a shard holds in place of a socket.
#[derive(Debug)]
pub struct ShardEnd(Pipe);

impl ShardEnd {
    /// Takes what there is room for.
    pub fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let (written, waker) = {
            let mut state = lock(&self.0);
            if state.is_left {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let mut room = CAPACITY.saturating_sub(state.to_handler.len());
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut written = 0;
            for piece in pieces {
                let take = piece.len().min(room);
                state.to_handler.extend_from_slice(piece.get(..take).unwrap_or_default());
                (written, room) = (written + take, room - take);
            }
            (written, state.handler.take())
        };
        wake([waker]);
        Ok(written)
    }

    /// Reads once. 0: the handler is gone.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        if state.to_shard.is_empty() {
            if state.is_left {
                return Poll::Ready(Ok(0));
            }
            state.shard_reads = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let take = state.to_shard.len().min(into.len());
        for (to, from) in into.iter_mut().zip(state.to_shard.drain(..take)) {
            *to = from;
        }
        Poll::Ready(Ok(take))
    }

    /// Wakes when there is room again.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.is_left || state.to_handler.len() < CAPACITY {
            return Poll::Ready(Ok(()));
        }
        state.shard_writes = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Says that nothing more comes.
    pub fn shut(&self) {
        let waker = {
            let mut state = lock(&self.0);
            state.is_shut = true;
            state.handler.take()
        };
        wake([waker]);
    }
}

impl Drop for ShardEnd {
    fn drop(&mut self) {
        self.shut();
    }
}

/// What comes to the handler.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// Messages of the client protocol, one on each line.
    Messages(Vec<u8>),
    /// Nothing happened for a while; it was answered.
    Heartbeat,
    /// The connection ends, for this reason. 3500 to 3999: connecting again is of no use.
    Close(u16, String),
}

/// The handler's end. Dropping it ends the connection.
#[derive(Debug)]
pub struct Local {
    pipe: Pipe,
    read: Vec<u8>,
    at: usize,
}

impl Local {
    /// The next frame. `None`: the connection is gone. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Frame> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next frame, if one is here already.
    pub fn try_next(&mut self) -> Option<Frame> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame,
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse() {
                return Poll::Ready(Some(frame));
            }
            let waker = {
                let mut state = lock(&self.pipe);
                if state.to_handler.is_empty() {
                    if state.is_shut {
                        return Poll::Ready(None);
                    }
                    state.handler = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                self.read.append(&mut state.to_handler);
                state.shard_writes.take()
            };
            wake([waker]);
        }
    }

    /// A frame as servers write them: whole and not masked.
    fn parse(&mut self) -> Option<Frame> {
        let rest = self.read.get(self.at..)?;
        let (&opcode, &short) = (rest.first()?, rest.get(1)?);
        let number = |bytes: &[u8]| bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (len, head) = match short & 0x7f {
            126 => (number(rest.get(2..4)?), 4),
            127 => (number(rest.get(2..10)?), 10),
            len => (usize::from(len), 2),
        };
        let payload = rest.get(head..head.checked_add(len)?)?.to_vec();
        self.at += head + len;
        if self.at == self.read.len() {
            self.read.clear();
            self.read.shrink_to(CAPACITY);
            self.at = 0;
        }
        Some(match opcode & 0x0f {
            PING => {
                self.send(&PONG);
                Frame::Heartbeat
            }
            CLOSE => {
                let code = payload.get(..2).map_or(1005, |code| u16::from(code[0]) << 8 | u16::from(code[1]));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                Frame::Close(code, reason)
            }
            _ => Frame::Messages(payload),
        })
    }

    fn send(&self, bytes: &[u8]) {
        let waker = {
            let mut state = lock(&self.pipe);
            state.to_shard.extend_from_slice(bytes);
            state.shard_reads.take()
        };
        wake([waker]);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let wakers = {
            let mut state = lock(&self.pipe);
            state.is_left = true;
            [state.shard_reads.take(), state.shard_writes.take()]
        };
        wake(wakers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::frames;

    fn write(end: &ShardEnd, bytes: &[u8]) -> io::Result<usize> {
        end.try_write(&[IoSlice::new(bytes)])
    }

    #[test]
    fn frames_come_whole_however_they_are_written() {
        let (shard, mut local) = pair();
        let mut bytes = Vec::new();
        for len in [0, 125, 126, 5_000] {
            frames::text(&mut bytes, &vec![b'x'; len]);
        }
        frames::ping(&mut bytes);
        frames::close(&mut bytes, 3001, "shutdown");
        let mut got = Vec::new();
        for byte in &bytes {
            assert_eq!(write(&shard, &[*byte]).unwrap(), 1);
            got.extend(local.try_next());
        }
        let texts = [0, 125, 126, 5_000].map(|len| Frame::Messages(vec![b'x'; len]));
        let end = [Frame::Heartbeat, Frame::Close(3001, "shutdown".to_owned())];
        assert_eq!(got, texts.into_iter().chain(end).collect::<Vec<_>>());
        let mut pong = [0; 16];
        let read = shard.poll_read(&mut Context::from_waker(Waker::noop()), &mut pong);
        assert!(matches!(read, Poll::Ready(Ok(6))), "the ping is answered");
    }

    #[test]
    fn a_handler_that_does_not_read_blocks_and_one_that_left_ends() {
        let (shard, mut local) = pair();
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(write(&shard, &vec![0x89; 2 * CAPACITY]).unwrap(), CAPACITY);
        assert_eq!(write(&shard, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(shard.poll_write_ready(cx).is_pending());
        let _ = local.try_next();
        assert!(shard.poll_write_ready(cx).is_ready());
        assert!(matches!(shard.poll_read(cx, &mut [0; 4]), Poll::Pending | Poll::Ready(Ok(4))));
        drop(local);
        assert_eq!(write(&shard, b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_end_of_either_is_noticed() {
        let (shard, mut local) = pair();
        let waits = tokio::spawn(async move { local.next().await });
        tokio::task::yield_now().await;
        drop(shard);
        assert_eq!(waits.await.unwrap(), None);
        let (shard, local) = pair();
        drop(local);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(shard.poll_read(cx, &mut [0; 4]), Poll::Ready(Ok(0))));
    }
}
