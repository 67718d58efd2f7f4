//! One socket and all that belongs to it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::gateway::admission::Place;
use crate::gateway::codec::Decoder;
use crate::gateway::connection::Connection;
use crate::gateway::http::Handed;
use crate::gateway::inbox::ConnWaker;
use crate::gateway::outbox::{Outbox, TryWrite};
use crate::gateway::timers::Tick;
use crate::gateway::tls::Tls;

/// A socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS. A write changes the session; the shard alone has it, and never twice at once.
    Tls(Box<RefCell<Tls>>),
}

// Plain sockets pay nothing for the others.
const _: () = assert!(size_of::<Socket>() == size_of::<TcpStream>());

impl TryWrite for Socket {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => match pieces {
                [one] => stream.try_write(one),
                many => stream.try_write_vectored(many),
            },
            Self::Tls(tls) => tls.borrow_mut().try_write(pieces),
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
            Self::Tls(tls) => tls.get_mut().poll_plaintext(cx, into),
        }
    }

    /// Who is at the other end; none if it is gone.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(stream) => stream.peer_addr().ok().map(|peer| peer.ip()),
            Self::Tls(tls) => tls.borrow().stream().peer_addr().ok().map(|peer| peer.ip()),
        }
    }

    /// Wakes when it takes bytes again.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_write_ready(cx),
            Self::Tls(tls) => tls.borrow().poll_write_ready(cx),
        }
    }

    /// Says that nothing more comes from us.
    pub(super) fn shut(&self) {
        match self {
            // The peer may be gone already.
            Self::Plain(stream) => drop(SockRef::from(stream).shutdown(std::net::Shutdown::Write)),
            Self::Tls(tls) => tls.borrow_mut().shut(),
        }
    }

    /// Says goodbye before it is dropped, where there is a word for it.
    pub(super) fn close(&self) {
        if let Self::Tls(tls) = self {
            tls.borrow_mut().close();
        }
    }

    /// Whether the peer should have spoken TLS, and did not.
    pub(super) fn is_plain_by_mistake(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.borrow().is_plain())
    }

    /// Takes it from this thread's runtime.
    pub(super) fn hand_over(self) -> io::Result<(Handed, SocketAddr)> {
        match self {
            Self::Plain(stream) => {
                let stream = stream.into_std()?;
                let peer = stream.peer_addr()?;
                Ok((Handed::Plain(stream), peer))
            }
            Self::Tls(tls) => {
                let tls = tls.into_inner().try_map(TcpStream::into_std)?;
                let peer = tls.stream().peer_addr()?;
                Ok((Handed::Tls(Box::new(tls)), peer))
            }
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
    /// It is counted with those that have not signed in.
    pub(super) stranger: bool,
    /// Where it is counted with its address.
    pub(super) place: Place,
}
