//! Accepting, heads of requests, reading, and what to do when a socket does not take what it is given.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::conn::{Closing, Conn, HeadState, Socket, Stage};
use super::{Shard, spare};
use crate::gateway::admission::{Place, Seat};
use crate::gateway::codec::Decoder;
use crate::gateway::config::times;
use crate::gateway::connection::Connection;
use crate::gateway::http_head::{self, Head, Refusal, Rules, Upgrade};
use crate::gateway::inbox::ConnWaker;
use crate::gateway::outbox::{Outbox, Sent};
use crate::gateway::tls::Tls;
use crate::net::client_address;

/// Sockets accepted in one turn.
const ACCEPTS: usize = 32;
/// How long to wait when this process has no more sockets to give.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Between two warnings of the same.
const WARNING_MS: u64 = 10_000;
/// Reads of one socket before others get their turn.
const READS: usize = 4;

impl Shard {
    /// Accepts what waits; `true`: there may be more.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        if self.now_ms < self.accept_after_ms {
            return false;
        }
        self.spare = self.spare.take().or_else(spare);
        for _ in 0..ACCEPTS {
            match self.listener.poll_accept(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok((stream, peer))) => self.accepted(stream, peer.ip()),
                Poll::Ready(Err(error)) if is_exhausted(&error) => {
                    self.counts.accept_errors += 1;
                    self.warn_exhausted(&error);
                    // With the spare one the next is taken, to be answered; after that, only once there are some again.
                    if self.spare.take().is_none() {
                        self.accept_after_ms = self.now_ms + ACCEPT_PAUSE_MS;
                        return false;
                    }
                }
                // The peer was gone before it was accepted.
                Poll::Ready(Err(_)) => {}
            }
        }
        true
    }

    fn accepted(&mut self, stream: TcpStream, peer: IpAddr) {
        self.counts.accepted += 1;
        let limits = &self.config.limits;
        let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let admission = &self.shared.admission;
        let strangers = limits.admission.unauthenticated;
        let is_flood = strangers > 0 && admission.strangers() >= strangers.saturating_add(limits.told);
        // For whom a proxy connects stands in the head.
        let place = if self.is_proxy(peer) { Some(Place::default()) } else { admission.enter(peer) };
        let (Some(place), false) =
            (place, is_flood || open >= limits.connections.saturating_add(limits.told))
        else {
            admission.leave(place.unwrap_or_default());
            self.counts.dropped += 1;
            self.uncount_one();
            return;
        };
        let Some(socket) = self.speak(stream) else {
            admission.leave(place);
            self.counts.dropped += 1;
            self.uncount_one();
            return;
        };
        admission.stranger();
        let deadline_ms = self.now_ms + times::FIRST_BYTE_MS.min(times::HEAD_MS);
        let now_ms = self.now_ms;
        let inbox = &self.inbox;
        let made = self.conns.insert(|index, _| Conn {
            socket,
            waker: ConnWaker::new(inbox, index),
            decoder: Decoder::default(),
            out: Outbox::default(),
            stage: Stage::Head(Box::new(HeadState { read: Vec::new(), deadline_ms })),
            logic: Connection::new(now_ms, false),
            entered: false,
            armed: 0,
            blocked: false,
            echo: false,
            stranger: true,
            place,
        });
        if let Some((index, _)) = made {
            self.schedule(index);
            self.ready.push_back(index);
        } else {
            self.shared.admission.leave(place);
            self.shared.admission.known();
            self.uncount_one();
        }
    }

    /// Says so, but not with every attempt.
    fn warn_exhausted(&mut self, error: &io::Error) {
        if self.now_ms >= self.next_warning_ms {
            self.next_warning_ms = self.now_ms + WARNING_MS;
            tracing::warn!(%error, "no connection can be accepted: raise the limit of open files, or lower `limits.connections`");
        }
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.config.trusted_proxies.iter().any(|network| network.contains(peer))
    }

    /// A connection need not sign in any more: it did, or it ends.
    pub(super) fn signed_in(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index)
            && std::mem::take(&mut conn.stranger)
        {
            self.shared.admission.known();
        }
    }

    /// A socket as it is, or with a new session of TLS.
    fn speak(&self, stream: TcpStream) -> Option<Socket> {
        let Some(certificates) = &self.config.certificates else { return Some(Socket::Plain(stream)) };
        match certificates.session() {
            Ok(session) => Some(Socket::Tls(Box::new(RefCell::new(Tls::new(stream, session))))),
            Err(error) => {
                tracing::error!(%error, "TLS cannot begin");
                None
            }
        }
    }

    /// Looks at sockets that became ready, at most so many; `true`: there are more.
    pub(super) fn serve_sockets(&mut self, limit: usize) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        for _ in 0..limit {
            let Some(index) = self.ready.pop_front() else { break };
            self.serve(index, &mut scratch);
        }
        self.scratch = scratch;
        !self.ready.is_empty()
    }

    fn serve(&mut self, index: u32, scratch: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        if conn.blocked {
            self.flush(index);
        }
        for _ in 0..READS {
            let Some(conn) = self.conns.get_mut(index) else { return };
            let Conn { socket, waker, stage, .. } = conn;
            // Dropping the socket now would reset the connection, and our close frame with it. It waits for its deadline.
            if matches!(stage, Stage::Closing(closing) if closing.left == 0) {
                return self.schedule(index);
            }
            match socket.poll_read(&mut Context::from_waker(&Arc::clone(waker).into()), scratch) {
                Poll::Pending => return self.schedule(index),
                Poll::Ready(Ok(len)) if len > 0 => {
                    self.counts.bytes_in += len as u64;
                    let (read, _) = scratch.split_at_mut(len);
                    self.received(index, read);
                }
                Poll::Ready(Err(_)) if socket.is_plain_by_mistake() && matches!(stage, Stage::Head(_)) => {
                    return self.refuse(index, Refusal::NO_TLS);
                }
                Poll::Ready(_) => return self.gone(index, false),
            }
        }
        self.schedule(index);
        self.ready.push_back(index);
    }

    fn received(&mut self, index: u32, read: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        match &mut conn.stage {
            Stage::Open => self.read_frames(index, read),
            Stage::Closing(closing) => {
                closing.left = closing.left.saturating_sub(read.len());
                if !closing.discard {
                    self.await_close(index, read);
                }
            }
            Stage::Head(head) if head.read.is_empty() => self.judge_head(index, read),
            Stage::Head(head) => {
                head.read.extend_from_slice(read);
                // Without the end of a line there is nothing new to judge.
                if read.contains(&b'\n') || head.read.len() >= http_head::MAX_HEAD {
                    let mut all = std::mem::take(&mut head.read);
                    self.judge_head(index, &mut all);
                }
            }
        }
    }

    /// Looks at a head as far as it came.
    fn judge_head(&mut self, index: u32, read: &mut [u8]) {
        let rules = Rules {
            allowed_origins: &self.config.allowed_origins,
            draining: self.is_draining(),
            echo: self.config.echo,
        };
        let head = http_head::inspect(read, rules);
        match head {
            Head::Incomplete => {
                if let Some(conn) = self.conns.get_mut(index)
                    && let Stage::Head(state) = &mut conn.stage
                {
                    state.read = read.to_vec();
                }
            }
            Head::Refuse(refusal) => self.refuse(index, refusal),
            Head::Http => self.hand_over(index, read.to_vec()),
            Head::WebSocket(upgrade) => match self.admit(index, read) {
                Ok(()) => self.upgrade(index, &upgrade, read),
                Err(refusal) => self.refuse(index, refusal),
            },
        }
    }

    /// Whether a socket may become a WebSocket.
    fn admit(&mut self, index: u32, head: &[u8]) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        if shared.connections.load(Ordering::Relaxed) > self.config.limits.connections {
            return Err(Refusal::FULL);
        }
        if self.spare.is_none() && spare().is_none() {
            return Err(Refusal::FILES);
        }
        if shared.no_memory.load(Ordering::Relaxed) {
            return Err(Refusal::MEMORY);
        }
        let Some(conn) = self.conns.get_mut(index) else { return Err(Refusal::FULL) };
        if !conn.place.is_counted()
            && let Some(peer) = conn.socket.peer()
        {
            let trusted = &self.config.trusted_proxies;
            let client = client_address(peer, &http_head::forwarded(head), trusted);
            // A proxy that says nothing is not one client.
            if !trusted.iter().any(|network| network.contains(client)) {
                conn.place = shared.admission.enter(client).ok_or(Refusal::ADDRESS)?;
            }
        }
        shared.admission.handshake(conn.place, self.ports.clock.monotonic_ms() * 1_000)
    }

    fn upgrade(&mut self, index: u32, upgrade: &Upgrade, read: &mut [u8]) {
        let now_ms = self.now_ms;
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.stage = Stage::Open;
        conn.echo = upgrade.echo;
        if upgrade.echo {
            self.signed_in(index);
        }
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.logic = Connection::new(now_ms, upgrade.frame_ping);
        self.counts.upgraded += 1;
        self.send_reply(index, upgrade.response().into_bytes());
        if let Some((_, frames)) = read.split_at_mut_checked(upgrade.head_len)
            && !frames.is_empty()
        {
            self.read_frames(index, frames);
        }
        self.schedule(index);
    }

    /// Answers with an error and closes, so that the answer arrives.
    fn refuse(&mut self, index: u32, refusal: Refusal) {
        self.counts.refuse(refusal.limit);
        self.signed_in(index);
        let deadline_ms = self.now_ms + times::LINGER_MS;
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.stage = Stage::Closing(Box::new(Closing {
            deadline_ms,
            discard: true,
            left: times::LINGER_BYTES,
            shut: false,
        }));
        self.send_reply(index, refusal.response().into_bytes());
        self.schedule(index);
    }

    /// Gives a socket and what came on it to the router's server.
    fn hand_over(&mut self, index: u32, read: Vec<u8>) {
        let Some(mut conn) = self.conns.remove(index) else { return };
        let seat = Seat(Arc::clone(&self.shared.admission), std::mem::take(&mut conn.place));
        self.uncount(&conn);
        self.counts.handed_over += 1;
        let open = self.shared.connections.load(Ordering::Relaxed).saturating_add(self.http.open());
        match conn.socket.hand_over() {
            Ok((socket, peer))
                if open < self.config.limits.connections.saturating_add(self.config.limits.told) =>
            {
                self.http.serve(socket, peer, read, seat);
            }
            _ => self.counts.dropped += 1,
        }
    }

    /// Sends what belongs to this connection alone.
    pub(super) fn send_reply(&mut self, index: u32, bytes: Vec<u8>) {
        let (limit, now_ms) = (self.config.limits.queue_bytes, self.now_ms);
        let Some(conn) = self.conns.get_mut(index) else { return };
        let before = conn.out.waiting();
        let limit = if conn.echo || matches!(conn.stage, Stage::Closing(_)) { usize::MAX } else { limit };
        let sent = conn.out.reply(&conn.socket, bytes, limit, now_ms);
        self.sent(index, before, sent);
    }

    /// What comes of a write.
    pub(super) fn sent(&mut self, index: u32, waited: usize, sent: Sent) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let waits = conn.out.waiting();
        self.requeue(waited, waits);
        let Some(conn) = self.conns.get_mut(index) else { return };
        match sent {
            Sent::Written => {
                conn.blocked = false;
                if let Stage::Closing(closing) = &mut conn.stage
                    && closing.discard
                    && !closing.shut
                {
                    closing.shut = true;
                    conn.socket.shut();
                }
            }
            Sent::Waits if conn.blocked || !conn.out.is_blocked() => {}
            Sent::Waits => {
                conn.blocked = true;
                let Conn { socket, waker, .. } = conn;
                if socket.poll_write_ready(&mut Context::from_waker(&Arc::clone(waker).into())).is_ready() {
                    self.ready.push_back(index);
                }
                self.schedule(index);
            }
            Sent::Full => self.close_slow(index),
            Sent::Broken => self.gone(index, false),
        }
    }

    /// The socket may take bytes again.
    fn flush(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let Some(conn) = self.conns.get_mut(index) else { return };
        let Conn { socket, waker, out, .. } = conn;
        match socket.poll_write_ready(&mut Context::from_waker(&Arc::clone(waker).into())) {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => self.gone(index, false),
            Poll::Ready(Ok(())) => {
                let before = out.waiting();
                let sent = out.flush(socket, now_ms);
                conn.blocked = false;
                self.sent(index, before, sent);
            }
        }
    }

    /// Drops a socket, and all that belonged to it.
    pub(super) fn gone(&mut self, index: u32, goodbye: bool) {
        if self.conns.get(index).is_some_and(|conn| matches!(conn.stage, Stage::Open)) {
            self.counts.closed(0);
            self.part(index, goodbye);
        }
        if let Some(conn) = self.conns.remove(index) {
            conn.socket.close();
            self.requeue(conn.out.waiting(), 0);
            self.uncount(&conn);
        }
    }

    /// A connection's time has come.
    pub(super) fn on_time(&mut self, index: u32) {
        let Some(conn) = self.conns.get(index) else { return };
        if conn.deadline() > self.now_ms {
            return;
        }
        match &conn.stage {
            // Nothing came at all: there is nobody to tell.
            Stage::Head(head) if head.read.is_empty() => self.gone(index, false),
            Stage::Head(_) => self.refuse(index, Refusal::TIMEOUT),
            Stage::Closing(_) => self.gone(index, false),
            Stage::Open => self.on_open_time(index),
        }
    }
}

/// Whether this process, or the machine, has no more sockets.
fn is_exhausted(error: &io::Error) -> bool {
    // ENFILE, EMFILE, ENOBUFS, ENOMEM
    matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12))
}
