//! Closing all connections, evenly.

use fama_protocol::centrifuge::DisconnectCode;

use super::Shard;
use super::conn::Conn;

/// Connections closed, and looked at, in one step.
const CLOSES: u64 = 64;
const LOOKS: u32 = 1_024;
/// Few are not stretched over the whole time: at least so many a second are closed.
const LEAST_PER_S: u64 = 50;
/// Whoever costs more than this is closed in the last pass.
const PASSES: u8 = 2;

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    begun_ms: u64,
    over_ms: u64,
    all: u64,
    closed: u64,
    pass: u8,
    next: u32,
}

impl Drain {
    /// Of so many connections over so long.
    pub(super) fn new(begun_ms: u64, over_ms: u64, all: usize) -> Self {
        Self { begun_ms, over_ms, all: all as u64, closed: 0, pass: 0, next: 0 }
    }

    /// How many are to be closed by now.
    fn goal(&self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.begun_ms);
        if passed >= self.over_ms {
            return u64::MAX;
        }
        let even = self.all * passed / self.over_ms;
        even.max(1 + passed * LEAST_PER_S / 1_000)
    }
}

/// What coming back costs: nothing waits and it hears little, nothing waits, or something does.
fn cost(conn: &Conn) -> u8 {
    match (conn.out.waiting(), conn.logic.subscriptions()) {
        (0, 0..=2) => 0,
        (0, _) => 1,
        _ => PASSES,
    }
}

impl Shard {
    /// Closes those whose time has come; what waits for them is sent first.
    pub(super) fn run_drain(&mut self) {
        let Some(mut drain) = self.drain.take() else { return };
        let goal = drain.goal(self.now_ms).min(drain.closed + CLOSES);
        for _ in 0..LOOKS {
            if drain.closed >= goal {
                break;
            }
            if drain.next >= self.conns.end() {
                if drain.pass == PASSES {
                    return;
                }
                (drain.pass, drain.next) = (drain.pass + 1, 0);
                continue;
            }
            let index = drain.next;
            drain.next += 1;
            if self.conns.get(index).is_some_and(|conn| conn.is_open() && cost(conn) <= drain.pass) {
                self.close_for(index, DisconnectCode::SHUTDOWN);
                drain.closed += 1;
            }
        }
        self.drain = Some(drain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_closed_evenly_and_few_at_once() {
        let goals = |all, at: [u64; 5]| at.map(|ms| Drain::new(1_000, 10_000, all).goal(1_000 + ms));
        assert_eq!(goals(5_000, [0, 1_000, 5_000, 9_999, 10_000]), [1, 500, 2_500, 4_999, u64::MAX]);
        assert_eq!(goals(3, [0, 20, 40, 100, 10_000]), [1, 2, 3, 6, u64::MAX]);
    }
}
