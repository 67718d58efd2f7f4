//! A plain HTTP/1 server for requests that are few: the admin listener. The public listener is the connection engine's.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::Service;

/// For the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After an error of accepting, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two warnings of the same.
const WARNINGS: Duration = Duration::from_secs(10);
/// Headers of a request.
const MAX_HEADERS: usize = 64;

/// Serves until `stop` is true, then finishes what is under way. At most `connections` at once; more wait to be accepted.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections: usize,
    mut stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(connections));
    // Let go of when there is no descriptor left: operators and probes get in all the same, one at a time.
    let mut spare = spare_file();
    let mut warned: Option<Instant> = None;
    loop {
        let permit = tokio::select! {
            () = told(&mut stop) => break,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = told(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                spare = spare.or_else(spare_file);
                let (router, stop) = (router.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, peer, router, stop).await;
                    drop(permit);
                });
            }
            Err(_) if spare.take().is_some() => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() >= WARNINGS) {
                    tracing::warn!(%error, "no connection of operators could be accepted");
                    warned = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                spare = spare_file();
            }
        }
    }
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    let _ = permits.acquire_many(all).await;
}

fn spare_file() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(MAX_HEADERS);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = told(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "a connection ended with an error");
    }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // Its sender gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}
