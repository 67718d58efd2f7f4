//! The bus within one process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use dashmap::DashMap;
use futures_util::future::poll_fn;
use futures_util::task::AtomicWaker;

use super::bus::{Bus, BusEvent, Envelope, NodeMessage};
use super::registry::NodeId;
use crate::Result;

/// What a message costs besides its payload, about.
const MESSAGE_BYTES: usize = 128;
/// What a recipient in a message costs, about.
const RECIPIENT_BYTES: usize = 48;

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Envelope>,
    bytes: usize,
    lagged: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Mailbox {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mailboxes of the nodes in this process.
#[derive(Debug)]
pub struct MemoryBus {
    mailboxes: DashMap<NodeId, Arc<Mailbox>>,
    max_messages: usize,
    max_bytes: usize,
}

impl MemoryBus {
    /// No mailboxes: a node's is made when it first receives, and what was sent to it before is lost. At either bound of a
    /// mailbox messages to it are dropped, and it hears [`BusEvent::Lagged`].
    pub fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { mailboxes: DashMap::new(), max_messages, max_bytes }
    }

    /// Makes the node's mailbox, so that nothing is lost before it first receives.
    pub fn attach(&self, node: &NodeId) {
        self.mailbox(node);
    }

    /// Closes the node's mailbox: receiving ends, what is sent to it is lost.
    pub fn close(&self, node: &NodeId) {
        if let Some((_, mailbox)) = self.mailboxes.remove(node) {
            let mut queue = mailbox.lock();
            (queue.messages, queue.bytes, queue.closed) = (VecDeque::new(), 0, true);
            drop(queue);
            mailbox.waker.wake();
        }
    }

    fn mailbox(&self, node: &NodeId) -> Arc<Mailbox> {
        if let Some(mailbox) = self.mailboxes.get(node) {
            return Arc::clone(&mailbox);
        }
        Arc::clone(&self.mailboxes.entry(node.clone()).or_default())
    }
}

/// What a message holds in memory, about.
fn weight(message: &NodeMessage) -> usize {
    MESSAGE_BYTES
        + match message {
            NodeMessage::Users { data, to, .. } => data.len() + to.len() * RECIPIENT_BYTES,
            NodeMessage::Channel { payload, .. } => payload.len(),
            NodeMessage::Viewers { users, .. } => users.len() * RECIPIENT_BYTES,
            NodeMessage::Beat => 0,
        }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn send(&self, to: &NodeId, envelope: Envelope) -> Result<()> {
        let Some(mailbox) = self.mailboxes.get(to).map(|mailbox| Arc::clone(&mailbox)) else {
            return Ok(());
        };
        {
            let mut queue = mailbox.lock();
            let bytes = weight(&envelope.message);
            if queue.messages.len() >= self.max_messages || queue.bytes + bytes > self.max_bytes {
                queue.lagged = true;
            } else {
                queue.bytes += bytes;
                queue.messages.push_back(envelope);
            }
        }
        mailbox.waker.wake();
        Ok(())
    }

    async fn receive(&self, node: &NodeId) -> Option<BusEvent> {
        let mailbox = self.mailbox(node);
        poll_fn(|context| {
            mailbox.waker.register(context.waker());
            let mut queue = mailbox.lock();
            if std::mem::take(&mut queue.lagged) {
                return Poll::Ready(Some(BusEvent::Lagged));
            }
            if let Some(envelope) = queue.messages.pop_front() {
                queue.bytes -= weight(&envelope.message);
                return Poll::Ready(Some(BusEvent::Message(envelope)));
            }
            if queue.closed { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}
