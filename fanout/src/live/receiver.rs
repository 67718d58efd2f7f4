//! The receiving side of the bus: notices lost messages by their numbers.

use std::collections::HashMap;

use super::bus::{BusEvent, NodeMessage};
use super::registry::NodeId;
use crate::settings::Mutant;

/// Senders repeat their last number so often, in milliseconds.
pub const BEAT_MS: u64 = 1_000;
/// A sender silent for more than so many beats may be gone, and its last message with it.
const QUIET_BEATS: u64 = 3;
/// Senders remembered. Beyond it the quietest is forgotten, as if it were gone.
const MAX_SENDERS: usize = 4_096;

/// A sender, as heard.
#[derive(Debug, Clone, Copy)]
struct Sender {
    /// Last number.
    number: u64,
    /// When (monotonic).
    at_ms: u64,
}

/// What a bus event means.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// Something was lost before it: doubt all positions first, see [`super::Input::Doubt`].
    pub doubt: bool,
    /// The message.
    pub message: Option<NodeMessage>,
}

/// Follows the numbers of all senders to this node. Pure; one of each node.
#[derive(Debug, Default)]
pub struct NodeReceiver {
    senders: HashMap<NodeId, Sender>,
    mutant: Option<Mutant>,
}

impl NodeReceiver {
    /// Has heard nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a planted bug.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// A bus event. Numbers begin at 1: whoever is heard first with a higher one sent something that was lost. A number
    /// that goes back means that the sender forgot this node and began again.
    pub fn on(&mut self, event: BusEvent, now_ms: u64) -> Heard {
        let envelope = match event {
            BusEvent::Lagged => return Heard { doubt: true, message: None },
            BusEvent::Message(envelope) => envelope,
        };
        let is_beat = envelope.message == NodeMessage::Beat;
        let known = self.senders.get(&envelope.from).map_or(0, |sender| sender.number);
        let expected = if is_beat { known } else { known + 1 };
        let based = self.mutant == Some(Mutant::SequenceBase) && !self.senders.contains_key(&envelope.from);
        let doubt = envelope.number != expected && !based && self.mutant != Some(Mutant::NoRecheck);
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&envelope.from) {
            self.forget_quietest();
        }
        self.senders.insert(envelope.from, Sender { number: envelope.number, at_ms: now_ms });
        Heard { doubt, message: (!is_beat).then_some(envelope.message) }
    }

    /// To be called about every second. `true`: a sender went quiet, doubt all positions; it is forgotten, so that its
    /// return is a doubt again.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        let before = self.senders.len();
        self.senders.retain(|_, sender| now_ms.saturating_sub(sender.at_ms) <= QUIET_BEATS * BEAT_MS);
        self.senders.len() < before && self.mutant != Some(Mutant::NoRecheck)
    }

    fn forget_quietest(&mut self) {
        let quietest = self.senders.iter().min_by_key(|(_, sender)| sender.at_ms).map(|(id, _)| id.clone());
        if let Some(id) = quietest {
            self.senders.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bus::Envelope;
    use super::*;

    fn beat(from: &str, number: u64) -> BusEvent {
        BusEvent::Message(Envelope { from: NodeId(from.into()), number, message: NodeMessage::Beat })
    }

    fn message(from: &str, number: u64) -> BusEvent {
        let message = NodeMessage::Viewers { app: fama_protocol::AppId::default(), users: Vec::new() };
        BusEvent::Message(Envelope { from: NodeId(from.into()), number, message })
    }

    #[test]
    fn missing_numbers_and_quiet_senders_are_doubts() {
        let mut receiver = NodeReceiver::new();
        let mut doubts = |event, now| receiver.on(event, now).doubt;
        assert!(!doubts(message("1.1", 1), 0));
        assert!(!doubts(message("1.1", 2), 0));
        assert!(!doubts(beat("1.1", 2), 1_000));
        assert!(doubts(beat("1.1", 3), 2_000), "the last message was lost");
        assert!(!doubts(message("1.1", 4), 2_000), "one doubt each");
        assert!(doubts(message("1.1", 6), 2_000), "one before it was lost");
        assert!(doubts(message("2.1", 2), 2_000), "the first one was lost");
        assert!(doubts(message("1.1", 1), 2_000), "it began again");
        assert!(doubts(BusEvent::Lagged, 2_000));
        assert!(!receiver.tick(5_000));
        assert!(!receiver.on(beat("2.1", 2), 5_000).doubt);
        assert!(receiver.tick(5_001), "the first sender is quiet");
        assert!(!receiver.tick(5_001), "once");
        assert!(receiver.on(message("1.1", 2), 6_000).doubt, "and back");
    }
}
