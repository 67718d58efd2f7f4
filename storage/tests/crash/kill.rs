//! SIGKILL while writing, again and again on the same directory.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::process::Writer;
use crate::workload;

/// Kills writers at varying times; the numbers that were acknowledged and are lost.
fn lost_after_kills(rounds: u64, early: bool) -> Vec<u64> {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let mut writer = Writer::start(dir.path(), round * 100_000, &[], early);
        writer.wait_for(1);
        let said = writer.kill_after(Duration::from_micros(round * 7_300 % 40_000));
        acknowledged.extend(said.acknowledged);
        let store = workload::open(dir.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lost = runtime.block_on(workload::verify(&store.stores(), &acknowledged));
        if !lost.is_empty() {
            return lost;
        }
    }
    assert!(acknowledged.len() as u64 > rounds * 10, "only {} writes", acknowledged.len());
    Vec::new()
}

#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let rounds = std::env::var("FAMA_CRASH_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    assert_eq!(lost_after_kills(rounds, false), Vec::<u64>::new());
}

/// The check above sees a store that acknowledges too early.
#[cfg(feature = "mutants")]
#[test]
fn acknowledging_early_is_caught() {
    assert!(!lost_after_kills(60, true).is_empty());
}

/// Killed while the database is made: the next start makes it.
#[test]
fn a_start_that_was_killed_can_be_repeated() {
    for round in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::start(dir.path(), 0, &[], false);
        let said = writer.kill_after(Duration::from_millis(2 + round * 5));
        let store = workload::open(dir.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lost = runtime.block_on(workload::verify(&store.stores(), &said.acknowledged));
        assert!(lost.is_empty(), "{lost:?}");
    }
}
