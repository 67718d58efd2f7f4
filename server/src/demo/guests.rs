//! Members whom visitors became of late.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use fama_protocol::UserId;

use super::texts::Dice;

/// So many are remembered.
const KEPT: usize = 8;

/// Whom the simulated members answer, so that something happens to everybody who tries.
#[derive(Debug, Default)]
pub struct Guests(Mutex<VecDeque<UserId>>);

impl Guests {
    /// A visitor became this member.
    pub fn came(&self, user: &UserId) {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|guest| guest != user);
        guests.push_front(user.clone());
        guests.truncate(KEPT);
    }

    /// Whether a visitor is this member.
    pub fn has(&self, user: &UserId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(user)
    }

    /// One of them.
    pub fn pick(&self, dice: &mut impl Dice) -> Option<UserId> {
        let guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guests.get(dice.roll(guests.len())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_once() {
        let guests = Guests::default();
        let user = |number: usize| UserId::new(&format!("u{number}")).unwrap();
        assert_eq!(guests.pick(&mut || 0), None);
        for number in 0..12 {
            guests.came(&user(number));
            guests.came(&user(5));
        }
        assert!(guests.has(&user(5)) && guests.has(&user(11)) && !guests.has(&user(2)));
        let mut side = 0;
        let picked: Vec<_> = (0..KEPT)
            .filter_map(|_| {
                side += 1;
                guests.pick(&mut || side - 1)
            })
            .collect();
        assert_eq!(picked.iter().filter(|guest| **guest == user(5)).count(), 1, "{picked:?}");
    }
}
