//! Accepting, heads of requests, reading, and what to do when a socket does not take what it is given.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use fama_protocol::centrifuge::DisconnectCode;
use tokio::net::TcpStream;

use super::Shard;
use super::conn::{Closing, Conn, HeadState, Socket, Stage};
use crate::gateway::codec::Decoder;
use crate::gateway::config::times;
use crate::gateway::connection::{Connection, Had};
use crate::gateway::http_head::{self, Head, Refusal, Rules, Upgrade};
use crate::gateway::inbox::ConnWaker;
use crate::gateway::local::ShardEnd;
use crate::gateway::outbox::{Outbox, Sent};
use crate::gateway::ports::Principal;

/// Sockets accepted in one turn.
const ACCEPTS: usize = 32;
/// How long to wait when this process has no more sockets to give.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Reads of one socket before others get their turn.
const READS: usize = 4;
/// Sockets beyond the limit that are still told so.
const TOLD: usize = 1024;

impl Shard {
    /// Accepts what waits; `true`: there may be more.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        if self.now_ms < self.accept_after_ms {
            return false;
        }
        for _ in 0..ACCEPTS {
            match self.listener.poll_accept(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok((stream, _))) => self.accepted(stream),
                Poll::Ready(Err(error)) if is_exhausted(&error) => {
                    self.counts.accept_errors += 1;
                    self.accept_after_ms = self.now_ms + ACCEPT_PAUSE_MS;
                    return false;
                }
                // The peer was gone before it was accepted.
                Poll::Ready(Err(_)) => {}
            }
        }
        true
    }

    fn accepted(&mut self, stream: TcpStream) {
        self.counts.accepted += 1;
        let open = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if open >= self.config.limits.connections.saturating_add(TOLD) {
            self.uncount();
            return;
        }
        let deadline_ms = self.now_ms + times::FIRST_BYTE_MS.min(times::HEAD_MS);
        let stage = Stage::Head(Box::new(HeadState { read: Vec::new(), deadline_ms }));
        if let Some(index) = self.insert(Socket::Plain(stream), stage) {
            self.schedule(index);
        }
    }

    /// A new connection, counted already, whose socket is looked at soon.
    fn insert(&mut self, socket: Socket, stage: Stage) -> Option<u32> {
        let now_ms = self.now_ms;
        let inbox = &self.inbox;
        let made = self.conns.insert(|index, _| Conn {
            socket,
            waker: ConnWaker::new(inbox, index),
            decoder: Decoder::default(),
            out: Outbox::default(),
            stage,
            logic: Connection::new(now_ms, true),
            entered: false,
            armed: 0,
            blocked: false,
            echo: false,
        });
        let Some((index, _)) = made else {
            self.uncount();
            return None;
        };
        self.ready.push_back(index);
        Some(index)
    }

    /// A handler of this process connects for a user who is known already.
    pub(super) fn open_local(&mut self, end: ShardEnd, principal: Principal, had: Had) {
        let Some(index) = self.insert(Socket::Local(end), Stage::Open) else { return };
        if self.is_draining() {
            return self.close_for(index, DisconnectCode::SHUTDOWN);
        }
        self.with_logic(index, |logic, cx| logic.connect_as(principal, had, cx));
        self.schedule(index);
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
            Head::WebSocket(upgrade) => {
                let open = self.shared.connections.load(Ordering::Relaxed);
                if open > self.config.limits.connections {
                    self.refuse(index, Refusal::FULL);
                } else {
                    self.upgrade(index, &upgrade, read);
                }
            }
        }
    }

    fn upgrade(&mut self, index: u32, upgrade: &Upgrade, read: &mut [u8]) {
        let now_ms = self.now_ms;
        let Some(conn) = self.conns.get_mut(index) else { return };
        conn.stage = Stage::Open;
        conn.echo = upgrade.echo;
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
        self.counts.refused += 1;
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
        let Some(conn) = self.conns.remove(index) else { return };
        self.uncount();
        self.counts.handed_over += 1;
        let open = self.shared.connections.load(Ordering::Relaxed).saturating_add(self.http.open());
        let Socket::Plain(stream) = conn.socket else { return };
        let Ok(socket) = stream.into_std() else { return };
        match socket.peer_addr() {
            Ok(peer) if open < self.config.limits.connections.saturating_add(TOLD) => {
                self.http.serve(socket, peer, read);
            }
            _ => {}
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
        self.queued = (self.queued + conn.out.waiting()).saturating_sub(waited);
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
            self.queued = self.queued.saturating_sub(conn.out.waiting());
            self.uncount();
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
