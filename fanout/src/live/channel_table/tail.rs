//! The newest publications of a channel, in memory.

use std::collections::VecDeque;

use bytes::Bytes;

/// Contiguous publications up to the channel's position.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<Bytes>,
    bytes: usize,
}

impl Tail {
    /// The next publication; older ones go beyond the limits.
    pub(super) fn push(&mut self, payload: Bytes, max_entries: usize, max_bytes: usize) {
        self.bytes += payload.len();
        self.entries.push_back(payload);
        while self.entries.len() > max_entries || self.bytes > max_bytes {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// What came after `offset` and up to `top`, if it is all here.
    pub(super) fn after(&self, offset: u64, top: u64) -> Option<Vec<(u64, Bytes)>> {
        let missing = usize::try_from(top.checked_sub(offset)?).ok()?;
        let first = self.entries.len().checked_sub(missing)?;
        Some((offset + 1..=top).zip(self.entries.iter().skip(first).cloned()).collect())
    }

    /// Bytes of payloads.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
