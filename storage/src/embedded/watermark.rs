//! Where scans of rows by time may begin.
//!
//! Rows that are done leave tombstones at the front of their range until compaction removes them; a scan from the
//! beginning would read that graveyard each time. So each range has a time below which nothing lives, in memory; after
//! a start it is 0.

use std::sync::{Mutex, PoisonError};

use fama_protocol::UnixMs;

#[derive(Default)]
struct State {
    from: u64,
    /// Grows with each row that became visible.
    rows: u64,
}

/// A time below which a range has no rows.
#[derive(Default)]
pub(super) struct Watermark(Mutex<State>);

/// What a scan must show to raise the watermark.
pub(super) struct Ticket(u64);

impl Watermark {
    /// Begins a scan; take the view of the database after this. Rows before the time returned don't exist.
    pub fn begin(&self) -> (UnixMs, Ticket) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (UnixMs(state.from), Ticket(state.rows))
    }

    /// The scan found no rows before `from`. Without effect if a row became visible meanwhile.
    pub fn raise(&self, ticket: &Ticket, from: UnixMs) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.rows == ticket.0 {
            state.from = state.from.max(from.0);
        }
    }

    /// A row of this time has become visible.
    pub fn row_at(&self, at: UnixMs) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.rows += 1;
        state.from = state.from.min(at.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_came_during_the_scan_keeps_the_watermark_down() {
        let watermark = Watermark::default();
        let (_, ticket) = watermark.begin();
        watermark.row_at(UnixMs(5));
        watermark.raise(&ticket, UnixMs(9));
        assert_eq!(watermark.begin().0, UnixMs(0));

        let (_, ticket) = watermark.begin();
        watermark.raise(&ticket, UnixMs(9));
        assert_eq!(watermark.begin().0, UnixMs(9));
        watermark.row_at(UnixMs(7));
        assert_eq!(watermark.begin().0, UnixMs(7));
    }
}
