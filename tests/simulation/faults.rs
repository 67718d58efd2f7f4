//! What goes wrong: budgets of faults, drawn by the scheduler's number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sched::Sim;

/// Budgets of faults that are left.
pub struct Faults {
    pub sim: Arc<Sim>,
    /// Store reads that fail, and may be tried again.
    pub reads: AtomicU64,
    /// Store writes whose answer is lost.
    pub writes: AtomicU64,
    /// Workers and rebuilds that die at an await.
    pub deaths: AtomicU64,
    /// Jobs delivered twice.
    pub twice: AtomicU64,
    /// Bus messages lost.
    pub lost: AtomicU64,
    /// Calls do not let others run: for setting up.
    pub calm: AtomicBool,
}

impl Faults {
    pub fn new(sim: &Arc<Sim>) -> Self {
        Self {
            sim: Arc::clone(sim),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
            twice: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            calm: AtomicBool::new(false),
        }
    }

    /// Others may run.
    pub async fn pause(&self) {
        if !self.calm.load(Ordering::Relaxed) {
            self.sim.pause().await;
        }
    }

    /// Takes one of a budget, in so many of a thousand cases.
    pub fn take(&self, budget: &AtomicU64, of_thousand: u64) -> bool {
        budget.load(Ordering::Relaxed) > 0 && self.sim.chance(of_thousand) && {
            budget.fetch_sub(1, Ordering::Relaxed);
            true
        }
    }

    pub fn read_fails(&self) -> bool {
        self.take(&self.reads, 30)
    }

    pub fn write_fails(&self) -> bool {
        self.take(&self.writes, 50)
    }

    /// No more faults.
    pub fn end(&self) {
        for budget in [&self.reads, &self.writes, &self.deaths, &self.twice, &self.lost] {
            budget.store(0, Ordering::Relaxed);
        }
    }
}
