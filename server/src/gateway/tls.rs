//! TLS on a socket: what the peer sends becomes plain here, and what we send becomes cipher text. No task, no lock, no copy
//! beside the session's own buffers.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are encrypted before the socket is asked again, about one record: what waits as cipher text is bounded by it.
const CHUNK: usize = 16 << 10;
/// Reads that bring no plain text before others get their turn.
const ROUNDS: usize = 8;

/// A socket that speaks TLS.
#[derive(Debug)]
pub struct Tls<S = TcpStream> {
    stream: S,
    session: ServerConnection,
    /// Nothing came yet.
    fresh: bool,
    /// The peer does not speak TLS: it is told so in plain text.
    plain: bool,
    /// Whether one byte was encrypted that we have not yet said is written. As long as cipher text waits, so does that byte
    /// in the outbox, and all that holds for a blocked socket.
    ahead: bool,
    /// We said that nothing more comes.
    closed: bool,
}

impl<S> Tls<S> {
    /// The same session on a socket that is registered elsewhere.
    pub fn try_map<T, E>(self, map: impl FnOnce(S) -> Result<T, E>) -> Result<Tls<T>, E> {
        let Self { stream, session, fresh, plain, ahead, closed } = self;
        Ok(Tls { stream: map(stream)?, session, fresh, plain, ahead, closed })
    }

    /// The socket itself.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl Tls {
    /// Nothing was read from the socket.
    pub fn new(stream: TcpStream, mut session: ServerConnection) -> Self {
        // `try_write` and `poll_write` never give it more at once.
        session.set_buffer_limit(Some(2 * CHUNK));
        Self { stream, session, fresh: true, plain: false, ahead: false, closed: false }
    }

    /// Whether what the peer sent first was no TLS. From then on bytes go out as they are.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Reads plain text. 0: the peer sends no more.
    pub fn poll_plaintext(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.plain {
            let mut buffer = ReadBuf::new(into);
            return Pin::new(&mut self.stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len());
        }
        for _ in 0..ROUNDS {
            // Parts of the handshake that the socket did not take. Reading goes on all the same.
            if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
                return Poll::Ready(Err(error));
            }
            match self.session.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                read => return Poll::Ready(read),
            }
            ready!(self.stream.poll_read_ready(cx))?;
            let mut wire = Wire { stream: &self.stream, fresh: self.fresh, plain: false };
            let read = self.session.read_tls(&mut wire);
            self.plain = wire.plain;
            match read {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(_) => self.fresh = false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = self.session.process_new_packets() {
                // The alert says why.
                let _ = self.drain();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Encrypts and writes what the socket takes now. Says one byte less than it took when cipher text is left, so that the
    /// caller, who then still has that byte to write, comes again, with the same bytes: a frame of two or more is begun then.
    pub fn try_write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.plain {
            return self.stream.try_write_vectored(pieces);
        }
        if self.session.is_handshaking() || !self.drain()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut done = 0;
        let mut skip = usize::from(std::mem::take(&mut self.ahead));
        for piece in pieces {
            let mut rest = piece.get(skip.min(piece.len())..).unwrap_or_default();
            done += piece.len() - rest.len();
            skip -= piece.len() - rest.len();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(CHUNK));
                self.session.writer().write_all(chunk)?;
                (done, rest) = (done + chunk.len(), after);
                if !self.drain()? {
                    self.ahead = true;
                    return Ok(done - 1);
                }
            }
        }
        Ok(done)
    }

    /// Wakes when it takes bytes again.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Says goodbye, as far as the socket takes it.
    pub fn close(&mut self) {
        if !self.plain && !self.session.is_handshaking() && !std::mem::replace(&mut self.closed, true) {
            self.session.send_close_notify();
            let _ = self.drain();
        }
    }

    /// Says that nothing more comes from us.
    pub fn shut(&mut self) {
        self.close();
        // The peer may be gone already.
        drop(SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write));
    }

    /// Writes cipher text; `false`: some is left.
    fn drain(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire { stream: &self.stream, fresh: false, plain: false }) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes all cipher text, and wakes when there is room for more.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.drain()? {
            ready!(self.stream.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Tls {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = ready!(self.get_mut().poll_plaintext(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tls {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let taken = this.session.writer().write(buf.get(..CHUNK).unwrap_or(buf))?;
        this.drain()?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// The socket as the session sees it.
struct Wire<'s> {
    stream: &'s TcpStream,
    fresh: bool,
    plain: bool,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.try_read(into)?;
        // A request begins with a capital letter, and no TLS does.
        if self.fresh && len > 0 && into.first().is_some_and(u8::is_ascii_uppercase) {
            self.plain = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(len)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
