//! Seeded simulation of the real code: feeds and live delivery on a scheduler of their own, with faults.
//!
//! `FAMA_SIM_SEED=n` runs one seed and prints its trace, `FAMA_SIM_SEEDS=n` sets how many are run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod faults;
mod feeds;
mod hunt;
mod projections;
mod sched;
mod stores;

use std::time::Instant;

use fama_fanout::Mutant;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    match variable("FAMA_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("FAMA_SIM_SEEDS").unwrap_or(default),
    }
}

fn feeds_run(mutant: Option<Mutant>) -> impl Fn(&[feeds::Step], u64, bool) -> (Option<String>, Vec<String>) {
    move |steps, seed, trace| feeds::run(steps, seed, mutant, trace)
}

#[test]
fn feeds_hold() {
    let (range, began) = (seeds(2_000), Instant::now());
    let run = feeds_run(None);
    let (_, failure) = hunt::hunt(range.clone(), &feeds::generate, &run);
    let count = range.end - range.start;
    println!("{count} seeds in {:.1} s", began.elapsed().as_secs_f64());
    if let Some((seed, _)) = failure {
        let steps = feeds::generate(&mut sched::Rng::new(seed));
        panic!("{}", hunt::explain(seed, steps, &run));
    }
}
