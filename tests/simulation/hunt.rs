//! Running many seeds, and making a failure small.

use std::time::Instant;

use crate::sched::Rng;

/// What a scenario does with a seed: what is wrong, and the trace.
pub type Run<'a, S> = &'a dyn Fn(&[S], u64, bool) -> (Option<String>, Vec<String>);

/// Runs seeds from `first` on: how many ran, and what the first failure says.
pub fn hunt<S: Clone + std::fmt::Debug>(
    seeds: std::ops::Range<u64>,
    generate: &dyn Fn(&mut Rng) -> Vec<S>,
    run: Run<'_, S>,
) -> (u64, Option<(u64, String)>) {
    let first = seeds.start;
    for seed in seeds {
        let steps = generate(&mut Rng::new(seed));
        if let (Some(violation), _) = run(&steps, seed, false) {
            return (seed - first + 1, Some((seed, violation)));
        }
    }
    (0, None)
}

/// The failure with fewer steps, and its trace.
pub fn explain<S: Clone + std::fmt::Debug>(seed: u64, steps: Vec<S>, run: Run<'_, S>) -> String {
    let kind = |violation: &str| violation.split(':').next().unwrap_or_default().to_owned();
    let (Some(first), _) = run(&steps, seed, false) else {
        return "the failure does not come again: the run is not deterministic".to_owned();
    };
    let (wanted, began) = (kind(&first), Instant::now());
    let fails =
        |steps: &[S], seed| run(steps, seed, false).0.is_some_and(|violation| kind(&violation) == wanted);
    let (mut best, mut with) = (steps, seed);
    let mut at = 0;
    while at < best.len() && began.elapsed().as_secs() < 20 {
        let mut fewer = best.clone();
        fewer.remove(at);
        let tries = (0..40).map(|k| if k == 0 { with } else { seed * 1_009 + k });
        match tries.into_iter().find(|other| fails(&fewer, *other)) {
            Some(other) => (best, with) = (fewer, other),
            None => at += 1,
        }
    }
    let (violation, trace) = run(&best, with, true);
    let violation = violation.unwrap_or_default();
    let skipped = trace.len().saturating_sub(400);
    let tail = trace[skipped..].join("\n");
    format!("seed {seed}: {first}\nsmallest (schedule {with}): {violation}\nsteps: {best:?}\n{tail}")
}
