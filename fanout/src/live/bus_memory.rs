//! The bus within one process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use dashmap::DashMap;
use futures_util::future::poll_fn;
use futures_util::task::AtomicWaker;

use super::bus::{Bus, BusEvent, Envelope, NodeMessage};
use super::registry::NodeId;
use crate::Result;
use crate::sync::lock;

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
        let mailbox = self.mailbox(node);
        {
            let mut queue = lock(&mailbox.queue);
            (queue.messages, queue.bytes, queue.closed) = (VecDeque::new(), 0, true);
        }
        mailbox.waker.wake();
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
            let mut queue = lock(&mailbox.queue);
            let bytes = weight(&envelope.message);
            if queue.closed {
                return Ok(());
            }
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
            let mut queue = lock(&mailbox.queue);
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

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[tokio::test]
    async fn passes_the_contract() {
        let bus = MemoryBus::new(1_000, 1 << 20);
        bus.attach(&NodeId("n-9.1".into()));
        contract::bus(&bus, "n").await;
    }

    #[tokio::test]
    async fn a_slow_node_hears_that_it_lagged_and_a_closed_bus_ends() {
        let (bus, node) = (MemoryBus::new(2, 1 << 20), NodeId("1.1".into()));
        bus.attach(&node);
        for number in 1..=3 {
            let envelope = Envelope { from: node.clone(), number, message: NodeMessage::Beat };
            bus.send(&node, envelope).await.unwrap();
        }
        assert_eq!(bus.receive(&node).await, Some(BusEvent::Lagged));
        for number in 1..=2 {
            let Some(BusEvent::Message(envelope)) = bus.receive(&node).await else { panic!() };
            assert_eq!(envelope.number, number);
        }
        let (ended, ()) = futures_util::future::join(bus.receive(&node), async { bus.close(&node) }).await;
        assert_eq!(ended, None);
    }
}
