//! Requests that are not for a socket: hyper and the router, on the work runtime.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::{Buf, Bytes};
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt;

use super::admission::Seat;
use super::http_head::{MAX_HEADERS, WEBSOCKET_PATH};
use super::tls::Tls;

/// How long a connection may wait for its next request, and that request's head take.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes that hyper keeps of a head and its body.
const BUFFER: usize = 64 << 10;

/// Serves what shards hand over.
#[derive(Clone)]
pub struct HttpServer {
    router: Router,
    handle: Handle,
    open: Arc<AtomicUsize>,
    stopping: watch::Receiver<bool>,
    /// Sockets speak TLS.
    tls: bool,
}

impl HttpServer {
    /// On this runtime; connections end with their request once `stopping` says true.
    pub fn new(router: Router, handle: Handle, stopping: watch::Receiver<bool>, tls: bool) -> Self {
        Self { router, handle, open: Arc::default(), stopping, tls }
    }

    /// Connections open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Goes on with a connection of which `read` came already.
    pub fn serve(&self, socket: Handed, peer: SocketAddr, read: Vec<u8>, seat: Seat) {
        let server = self.clone();
        self.open.fetch_add(1, Ordering::Relaxed);
        let count = Count(Arc::clone(&self.open));
        self.handle.spawn(async move {
            let _held = (count, seat);
            match socket {
                Handed::Plain(socket) => server.take(TcpStream::from_std(socket), read, peer).await,
                Handed::Tls(tls) => server.take(tls.try_map(TcpStream::from_std), read, peer).await,
            }
        });
    }

    async fn take<S>(self, socket: io::Result<S>, read: Vec<u8>, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match socket {
            Ok(socket) => self.run(Prefixed { read: read.into(), socket }, peer).await,
            Err(error) => tracing::warn!(%error, "a socket cannot be taken over"),
        }
    }

    async fn run(mut self, socket: Prefixed<impl AsyncRead + AsyncWrite + Unpin>, peer: SocketAddr) {
        let (router, tls) = (self.router, self.tls);
        let service = service_fn(move |request| secured(tls, respond(router.clone(), request, peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(MAX_HEADERS)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(socket), service);
        tokio::pin!(connection);
        let done = tokio::select! {
            done = connection.as_mut() => done,
            () = async { drop(self.stopping.wait_for(|stopping| *stopping).await) } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = done {
            tracing::trace!(%error, "a connection ended early");
        }
    }
}

/// Has browsers use nothing but TLS for this host from now on, if it speaks TLS.
async fn secured(
    tls: bool,
    response: impl Future<Output = Result<Response, Infallible>>,
) -> Result<Response, Infallible> {
    let mut response = response.await?;
    if tls {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, header::HeaderValue::from_static("max-age=31536000"));
    }
    Ok(response)
}

async fn respond(
    router: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Infallible> {
    if request.uri().path() == WEBSOCKET_PATH {
        // Sockets are made of fresh connections only; every client opens one.
        let mut response = Response::new(Body::from("open a connection of its own for a WebSocket"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        return Ok(response);
    }
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request.map(Body::new)).await
}

struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket of which some was read already.
struct Prefixed<S> {
    read: Bytes,
    socket: S,
}

/// A socket that leaves its shard.
pub enum Handed {
    /// TCP as it is.
    Plain(std::net::TcpStream),
    /// TLS.
    Tls(Box<Tls<std::net::TcpStream>>),
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let take = self.read.len().min(buf.remaining());
        if let Some(bytes) = self.read.get(..take) {
            buf.put_slice(bytes);
        }
        self.read.advance(take);
        if self.read.is_empty() {
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
