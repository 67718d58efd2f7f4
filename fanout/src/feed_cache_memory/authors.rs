//! Numbers for the names of authors, shared by all feeds and counted: a name goes when no entry has it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use fama_protocol::UserId;

use crate::sync::{read, write};

/// Names looked through again only when there are twice as many.
const SWEEP_FROM: usize = 1_024;

#[derive(Default)]
pub(super) struct Authors {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    numbers: HashMap<UserId, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    sweep_at: usize,
}

struct Slot {
    name: Option<UserId>,
    entries: AtomicU64,
}

/// The names, readable.
pub(super) struct Names<'a>(RwLockReadGuard<'a, Table>);

impl Names<'_> {
    /// The name of a number that the caller holds an entry of.
    pub(super) fn get(&self, number: u32) -> UserId {
        let name = self.0.slots.get(number as usize).and_then(|slot| slot.name.clone());
        name.unwrap_or_else(|| unreachable!("an entry holds its author's name"))
    }
}

impl Authors {
    /// The numbers of these names, each held `times` times until released.
    pub(super) fn acquire<'a>(
        &self,
        names: impl Iterator<Item = &'a UserId> + Clone,
        times: usize,
    ) -> Vec<u32> {
        let times = times as u64;
        {
            let table = read(&self.table);
            let known: Option<Vec<u32>> =
                names.clone().map(|name| table.numbers.get(name).copied()).collect();
            if let Some(known) = known {
                for number in &known {
                    table.hold(*number, times);
                }
                return known;
            }
        }
        let mut table = write(&self.table);
        names.map(|name| table.number_of(name, times)).collect()
    }

    /// The number of a name that is known, held once.
    pub(super) fn number(&self, name: &UserId) -> Option<u32> {
        let table = read(&self.table);
        let number = table.numbers.get(name).copied()?;
        table.hold(number, 1);
        Some(number)
    }

    /// Gives holds back.
    pub(super) fn release(&self, numbers: impl Iterator<Item = u32>) {
        let table = read(&self.table);
        for number in numbers {
            if let Some(slot) = table.slots.get(number as usize) {
                slot.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn names(&self) -> Names<'_> {
        Names(read(&self.table))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        read(&self.table).slots.len()
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        read(&self.table).slots.iter().filter(|slot| slot.entries.load(Ordering::Relaxed) > 0).count()
    }
}

impl Table {
    fn hold(&self, number: u32, times: u64) {
        if let Some(slot) = self.slots.get(number as usize) {
            slot.entries.fetch_add(times, Ordering::Relaxed);
        }
    }

    fn number_of(&mut self, name: &UserId, times: u64) -> u32 {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => self.add(name),
        };
        self.hold(number, times);
        number
    }

    fn add(&mut self, name: &UserId) -> u32 {
        if self.free.is_empty() && self.slots.len() >= self.sweep_at {
            self.sweep();
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { name: None, entries: AtomicU64::new(0) });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.name = Some(name.clone());
        }
        self.numbers.insert(name.clone(), number);
        number
    }

    fn sweep(&mut self) {
        for (number, slot) in (0u32..).zip(&mut self.slots) {
            if *slot.entries.get_mut() == 0
                && let Some(name) = slot.name.take()
            {
                self.numbers.remove(&name);
                self.free.push(number);
            }
        }
        let used = self.slots.len() - self.free.len();
        self.sweep_at = SWEEP_FROM.max(2 * used);
    }
}
