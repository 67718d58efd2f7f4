//! Seeded simulation of the real code: feeds and live delivery on a scheduler of their own, with faults.
//!
//! `FAMA_SIM_SEED=n` runs one seed and prints its trace, `FAMA_SIM_SEEDS=n` sets how many are run. With the feature
//! `mutants` bugs are planted one at a time, and each must be found.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod faults;
mod feeds;
mod hunt;
mod inbox;
mod live;
#[cfg(feature = "mutants")]
mod mutants;
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

fn live_run(
    strict: bool,
    mutant: Option<Mutant>,
) -> impl Fn(&[live::Step], u64, bool) -> (Option<String>, Vec<String>) {
    move |steps, seed, trace| live::run(steps, seed, strict, mutant, trace)
}

fn holds<S: Clone + std::fmt::Debug>(
    default: u64,
    generate: fn(&mut sched::Rng) -> Vec<S>,
    run: hunt::Run<'_, S>,
) {
    let (range, began) = (seeds(default), Instant::now());
    let (ran, failure) = hunt::hunt(range.clone(), &generate, run);
    let ran = if failure.is_some() { ran } else { range.end - range.start };
    let seconds = began.elapsed().as_secs_f64();
    println!("{ran} seeds in {seconds:.1} s, {:.0} a second", ran as f64 / seconds);
    if let Some((seed, _)) = failure {
        panic!("{}", hunt::explain(seed, generate(&mut sched::Rng::new(seed)), run));
    }
}

#[test]
fn feeds_hold() {
    holds(8_000, feeds::generate, &feeds_run(None));
}

#[test]
fn live_delivery_holds() {
    holds(4_000, live::generate, &live_run(false, None));
}

/// Without the periodic comparison, which heals much of what the rest might get wrong.
#[test]
fn live_delivery_holds_by_what_is_noticed_at_once() {
    holds(4_000, live::generate, &live_run(true, None));
}

/// A seed is a run: what failed once fails again.
#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let steps = feeds::generate(&mut sched::Rng::new(seed));
        let traces = [(); 2].map(|()| feeds::run(&steps, seed, None, true).1);
        assert!(traces[0] == traces[1], "feeds, seed {seed}");
        let steps = live::generate(&mut sched::Rng::new(seed));
        let traces = [(); 2].map(|()| live::run(&steps, seed, false, None, true).1);
        assert!(traces[0] == traces[1], "live, seed {seed}");
    }
}
