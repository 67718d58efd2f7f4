//! One socket and all that belongs to it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::gateway::codec::Decoder;
use crate::gateway::connection::Connection;
use crate::gateway::inbox::ConnWaker;
use crate::gateway::local::ShardEnd;
use crate::gateway::outbox::{Outbox, TryWrite};
use crate::gateway::timers::Tick;

/// A socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP as it is.
    Plain(TcpStream),
    /// A handler of this process.
    Local(ShardEnd),
}

impl TryWrite for Socket {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => match pieces {
                [one] => stream.try_write(one),
                many => stream.try_write_vectored(many),
            },
            Self::Local(end) => end.try_write(pieces),
        }
    }
}

impl Socket {
    /// Reads once. 0: the peer sends no more.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => {
                let mut buffer = ReadBuf::new(into);
                Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
            Self::Local(end) => end.poll_read(cx, into),
        }
    }

    /// Wakes when it takes bytes again.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_write_ready(cx),
            Self::Local(end) => end.poll_write_ready(cx),
        }
    }

    /// Says that nothing more comes from us.
    pub(super) fn shut(&self) {
        match self {
            // The peer may be gone already.
            Self::Plain(stream) => drop(SockRef::from(stream).shutdown(std::net::Shutdown::Write)),
            Self::Local(end) => end.shut(),
        }
    }
}

/// A request's head that is not complete.
#[derive(Debug)]
pub(super) struct HeadState {
    pub(super) read: Vec<u8>,
    pub(super) deadline_ms: u64,
}

/// A connection that is being closed.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) deadline_ms: u64,
    /// What the peer sends is not even read as frames any more.
    pub(super) discard: bool,
    /// Bytes that are still read.
    pub(super) left: usize,
    /// We said that nothing more comes.
    pub(super) shut: bool,
}

/// How far a socket is.
#[derive(Debug)]
pub(super) enum Stage {
    Head(Box<HeadState>),
    /// A WebSocket.
    Open,
    Closing(Box<Closing>),
}

/// A connection. Everything here counts a million times.
pub(super) struct Conn {
    pub(super) socket: Socket,
    pub(super) waker: Arc<ConnWaker>,
    pub(super) decoder: Decoder,
    pub(super) out: Outbox,
    pub(super) stage: Stage,
    pub(super) logic: Connection,
    /// Holds its user's relations, see `Viewers`.
    pub(super) entered: bool,
    /// When the wheel looks at it next; 0 = never.
    pub(super) armed: Tick,
    /// Waits until the socket takes bytes.
    pub(super) blocked: bool,
    pub(super) echo: bool,
}
