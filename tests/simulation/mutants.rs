//! Planted bugs. Each leaves out one sentence of the design; each must be found, and without it nothing.

use fama_fanout::Mutant;

use crate::feeds::{self, Op};
use crate::{feeds_run, hunt, live, live_run, sched};

/// Runs that a bug may take to be found.
const SEEDS: u64 = 60_000;

/// Found by random operations.
const FEEDS: [Mutant; 15] = [
    Mutant::ReplaceRebuild,
    Mutant::BackfillBeforeEdge,
    Mutant::ContinueEarly,
    Mutant::GenerationIgnored,
    Mutant::FloorIgnored,
    Mutant::NoPending,
    Mutant::CleanupNoFloor,
    Mutant::CleanupUnversioned,
    Mutant::DrainNoRecheck,
    Mutant::RebuildSkipsPull,
    Mutant::ListAfterFeed,
    Mutant::ReadEntriesFirst,
    Mutant::ChunkUnsettled,
    Mutant::FinalNoToken,
    Mutant::BackfillSkipsBuilding,
];

const LIVE: [Mutant; 10] = [
    Mutant::DuplicateSkips,
    Mutant::RegisterLate,
    Mutant::NoGapFetch,
    Mutant::GapJumps,
    Mutant::PartialReplay,
    Mutant::UnregisterRace,
    Mutant::SubscribeGoesOn,
    Mutant::ReregisterOnly,
    Mutant::NoRecheck,
    Mutant::SequenceBase,
];

/// Rare ones: few operations, many schedules.
fn directed() -> Vec<(Mutant, Vec<feeds::Step>)> {
    let fed = [("init", Op::InitFollow(2, 0)), ("init", Op::InitFeed(2))];
    let walks = [("reader0", Op::Walk(2)), ("reader1", Op::Walk(2))];
    let make = |init: &[feeds::Step], steps: &[feeds::Step], walked: usize| {
        let walks = walks.iter().cycle().take(walked).cloned();
        init.iter().chain(steps).cloned().chain(walks).collect::<Vec<_>>()
    };
    let celebrity = [fed[0].clone(), fed[1].clone(), ("init", Op::InitCelebrity(0))];
    let again = [("user2", Op::Follow(2, 0)), ("user2", Op::Unfollow(2, 0)), ("user2", Op::Follow(2, 0))];
    let fails = [("budget", Op::ReadFails), ("budget", Op::ReadFails), ("budget", Op::ReadFails)];
    let old = [("init", Op::InitPost(0)), ("init", Op::InitPost(0)), ("init", Op::InitPost(0))];
    let both = [("init", Op::InitFollow(2, 0)), ("init", Op::InitFollow(2, 1))];
    let crowd = [
        ("reader2", Op::Walk(2)),
        ("user0", Op::Publish(0)),
        ("user1", Op::Publish(1)),
        ("user2", Op::Unfollow(2, 1)),
    ];
    vec![
        (Mutant::PartialPasses, make(&[&celebrity[..], &old[1..]].concat(), &fails, 8)),
        (Mutant::FinalOverwrites, make(&[&both[..], &old[..]].concat(), &crowd, 0)),
        (
            Mutant::PendingBlind,
            make(&fed[1..], &[&again[..], &[("user0", Op::Publish(0)), ("budget", Op::Twice)]].concat(), 6),
        ),
        (
            Mutant::CleanupNoToken,
            make(
                &[fed[0].clone(), fed[1].clone(), ("init", Op::InitPost(0))],
                &[
                    ("user2", Op::Unfollow(2, 0)),
                    ("user2", Op::Follow(2, 0)),
                    ("fault", Op::Expire),
                    ("reader2", Op::Walk(2)),
                    ("budget", Op::Twice),
                ],
                0,
            ),
        ),
    ]
}

fn directed_live() -> Vec<(Mutant, Vec<live::Step>)> {
    // A client that resumes, and so does not reload.
    let resumes = vec![
        ("c0", live::Op::Connect(0)),
        ("c0", live::Op::Sleep(3_000)),
        ("c0", live::Op::Disconnect),
        ("c0", live::Op::Connect(1)),
        ("app", live::Op::Sleep(3_000)),
        ("app", live::Op::Event(vec![0])),
    ];
    let stays = [("c0", live::Op::Connect(0)), ("app", live::Op::Sleep(3_000))];
    let events = [("app", live::Op::Event(vec![0])), ("app", live::Op::Event(vec![0, 1]))];
    let dies = [("budget", live::Op::Die), ("budget", live::Op::Die)];
    let many: Vec<_> = stays.iter().chain(events.iter().cycle().take(8)).chain(&dies).cloned().collect();
    vec![(Mutant::LookupFirst, resumes.clone()), (Mutant::NoBuffer, resumes), (Mutant::DedupeRetained, many)]
}

fn report(mutant: Mutant, ran: u64, found: Option<&(u64, String)>, missed: &mut Vec<Mutant>) {
    let what = found.map_or("NOT FOUND", |(_, violation)| violation.as_str());
    println!("{:22} after {ran:6}  {:.100}", format!("{mutant:?}"), what);
    if found.is_none() {
        missed.push(mutant);
    }
}

#[test]
fn every_planted_bug_in_feeds_is_found() {
    let mut missed = Vec::new();
    for mutant in FEEDS {
        let (ran, found) = hunt::hunt(0..SEEDS, &feeds::generate, &feeds_run(Some(mutant)));
        report(mutant, ran, found.as_ref(), &mut missed);
    }
    for (mutant, steps) in directed() {
        let generate = |_: &mut sched::Rng| steps.clone();
        let (ran, found) = hunt::hunt(0..SEEDS, &generate, &feeds_run(Some(mutant)));
        report(mutant, ran, found.as_ref(), &mut missed);
        let (_, without) = hunt::hunt(0..1_000, &generate, &feeds_run(None));
        assert_eq!(without, None, "the same without {mutant:?}");
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn every_planted_bug_in_live_delivery_is_found() {
    let mut missed = Vec::new();
    for mutant in LIVE {
        let (ran, found) = hunt::hunt(0..SEEDS, &live::generate, &live_run(true, Some(mutant)));
        report(mutant, ran, found.as_ref(), &mut missed);
    }
    for (mutant, steps) in directed_live() {
        let generate = |_: &mut sched::Rng| steps.clone();
        let (ran, found) = hunt::hunt(0..SEEDS, &generate, &live_run(true, Some(mutant)));
        report(mutant, ran, found.as_ref(), &mut missed);
        let (_, without) = hunt::hunt(0..1_000, &generate, &live_run(true, None));
        assert_eq!(without, None, "the same without {mutant:?}");
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
