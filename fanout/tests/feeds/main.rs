//! Feeds over the embedded store and the backends in memory, on a real follow graph: whatever happened before, every feed
//! walked to its end is what a naive model says, while authors become celebrities and stop being it.

#![allow(clippy::unwrap_used, reason = "assertions of tests")]

mod damaged;
mod ends;
mod model;
mod steps;
mod world;

use fama_fanout::{Mutant, Urgency};
use fama_protocol::{Channel, PostId, ScopedChannel};
use fama_storage::{ErrorKind, FollowOutcome, Mode, PostChange, PostPatch, Relation};

use crate::world::{World, person};

/// Steps between two times at which everything is compared.
const STEPS: usize = 600;

async fn run(seed: u64, rounds: usize, bug: Option<Mutant>) {
    let mut world = World::congress(seed, bug).await;
    for round in 0..rounds {
        for _ in 0..STEPS {
            world.step().await;
        }
        world.settle().await;
        world.compare_all(&format!("seed {seed} round {round}")).await;
    }
    world.report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_feed_is_what_the_model_says_while_modes_change() {
    let seeds = std::env::var("FEED_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        run(seed, 4, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_reads_its_own_writes_at_once() {
    let mut world = World::empty(5);
    let (ann, bob, eve) = (person("ann"), person("bob"), person("eve"));
    let app = world.app.clone();
    let old = world.publish(&bob).await;
    assert_eq!(world.first_page(&ann).await, []);
    let writer = world.feeds.writer.clone();
    assert!(matches!(
        writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap(),
        FollowOutcome::Followed(_)
    ));
    assert_eq!(world.first_page(&ann).await, [old], "before any job ran");
    let mine = world.publish(&ann).await;
    assert_eq!(world.first_page(&ann).await, [mine, old]);
    world.run_jobs().await;
    world.rebuild_all().await;
    let newer = world.publish(&bob).await;
    world.run_jobs().await;
    assert_eq!(world.first_page(&ann).await, [newer, mine, old]);

    let patch = PostPatch { text: Some(Some("edited".into())), data: None };
    let edited = writer.edit(&app, &bob, newer, &patch).await.unwrap();
    assert!(matches!(edited, PostChange::Changed(..)));
    let page = world.feeds.reader.page(&app, &ann, None, 20).await.unwrap();
    assert_eq!(page.posts[0].text.as_deref(), Some("edited"));
    writer.delete(&app, Some(&bob), newer).await.unwrap();
    assert_eq!(world.first_page(&ann).await, [mine, old]);
    writer.relate(&app, &ann, Relation::Mute, &bob, true).await.unwrap();
    assert_eq!(world.first_page(&ann).await, [mine]);
    writer.relate(&app, &ann, Relation::Mute, &bob, false).await.unwrap();
    assert_eq!(world.first_page(&ann).await, [mine, old]);
    writer.relate(&app, &bob, Relation::Block, &ann, true).await.unwrap();
    assert_eq!(world.first_page(&ann).await, [mine]);
    let blocked = writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    assert_eq!(blocked, FollowOutcome::Blocked(bob.clone()));

    let reader = world.feeds.reader.clone();
    let seen = |viewer| {
        let (reader, app) = (reader.clone(), app.clone());
        async move { reader.posts(&app, viewer, &[old, newer, mine]).await.unwrap() }
    };
    let ids = |posts: Vec<Option<std::sync::Arc<fama_storage::Post>>>| {
        posts.into_iter().map(|post| post.map(|post| post.id)).collect::<Vec<_>>()
    };
    assert_eq!(ids(seen(Some(&ann)).await), [None, None, Some(mine)]);
    assert_eq!(ids(seen(Some(&eve)).await), [Some(old), None, Some(mine)]);
    assert_eq!(ids(seen(None).await), [Some(old), None, Some(mine)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_follow_the_mode() {
    let mut world = World::empty(6);
    let (ann, bob) = (person("ann"), person("bob"));
    let app = world.app.clone();
    let own = ScopedChannel::new(&app, Channel::user(&ann));
    let shared = ScopedChannel::new(&app, Channel::author(&bob));
    for channel in [&own, &shared] {
        world.open_log(channel).await;
    }
    world.feeds.writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    world.run_jobs().await;
    assert_eq!(world.log(&own).await, ["rf1bob"], "the device hears of its own follow, once");
    let first = world.publish(&bob).await;
    world.run_jobs().await;
    assert_eq!(world.log(&own).await, ["rf1bob".to_owned(), format!("c{first}")]);
    assert!(world.log(&shared).await.is_empty());

    world.feeds.modes.pin(&app, &bob, Mode::Pull).await.unwrap().unwrap();
    world.advance(8_000);
    let both = world.publish(&bob).await;
    world.run_jobs().await;
    assert_eq!(world.log(&own).await.last(), Some(&format!("c{both}")), "both ways for a minute");
    assert_eq!(world.log(&shared).await, [format!("c{both}")]);
    world.advance(60_000);
    let pulled = world.publish(&bob).await;
    world.run_jobs().await;
    assert_eq!(world.log(&own).await.last(), Some(&format!("c{both}")));
    assert_eq!(world.log(&shared).await.last(), Some(&format!("c{pulled}")));
    world.feeds.writer.delete(&app, Some(&bob), pulled).await.unwrap();
    world.run_jobs().await;
    assert_eq!(world.log(&shared).await.last(), Some(&format!("d{pulled}")));
    assert_eq!(world.first_page(&ann).await, [both, first]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_queue_lost_is_swept_and_what_is_poison_is_set_aside() {
    let mut world = World::empty(7);
    let (ann, bob) = (person("ann"), person("bob"));
    let app = world.app.clone();
    world.feeds.writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    world.first_page(&ann).await;
    world.run_jobs().await;
    world.rebuild_all().await;
    let post = world.publish(&bob).await;
    world.restart(false);
    assert_eq!(world.sweep().await, 0, "too early");
    world.advance(30_001);
    assert_eq!(world.sweep().await, 1);
    assert_eq!(world.sweep().await, 0, "once for each wait");
    world.run_jobs().await;
    assert_eq!(world.first_page(&ann).await, [post]);
    let next = world.publish(&bob).await;
    world.restart(false);
    assert_eq!(world.recover().await, 1, "at once after a start");
    world.run_jobs().await;
    assert_eq!(world.first_page(&ann).await, [next, post]);
    assert_eq!(world.stores.outbox.backlog().await.unwrap(), 0);

    let poison = world.publish(&bob).await;
    world.poison(&bob, poison).await;
    let aside = world.stores.outbox.quarantined(&app, 10).await.unwrap();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(world.stores.outbox.backlog().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_a_feed_is_served_at_once_and_rebuilt() {
    let mut world = World::empty(8);
    let (ann, bob) = (person("ann"), person("bob"));
    let app = world.app.clone();
    world.feeds.writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    let mut posts: Vec<PostId> = Vec::new();
    for _ in 0..70 {
        posts.insert(0, world.publish(&bob).await);
    }
    world.run_jobs().await;
    assert_eq!(world.walk(&ann, 7).await, posts, "from the store alone");
    assert!(!world.feeds.reader.ensure_feed(&app, &ann, Urgency::Online).await.unwrap());
    assert_eq!(world.feeds.rebuilds.waiting(), 1, "asked for once");
    world.rebuild_all().await;
    assert!(world.feeds.reader.ensure_feed(&app, &ann, Urgency::Online).await.unwrap());
    assert_eq!(world.walk(&ann, 7).await, posts, "feed, then rows below the floor");
    let late = world.late_post(&bob);
    let late = world.feeds.writer.publish(&app, &late, None).await;
    assert!(matches!(late, Err(fama_fanout::FanoutError::TooLate)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_makes_a_partial_page_that_passes_nothing() {
    let mut world = World::empty(9);
    let (ann, bob) = (person("ann"), person("bob"));
    let app = world.app.clone();
    world.feeds.writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    let post = world.publish(&bob).await;
    world.run_jobs().await;
    for ready in [false, true] {
        let broken = world.broken(ErrorKind::Unavailable);
        for before in [None, Some(post)] {
            let page = broken.reader.page(&app, &ann, before, 20).await.unwrap();
            assert!(page.partial && page.posts.is_empty());
            assert_eq!(page.next, Some(before.unwrap_or(PostId::MAX)));
        }
        assert!(world.broken(ErrorKind::Corrupt).reader.page(&app, &ann, None, 20).await.is_err());
        assert_eq!(world.first_page(&ann).await, [post]);
        world.rebuild_all().await;
        assert!(world.feeds.reader.ensure_feed(&app, &ann, Urgency::Online).await.unwrap(), "{ready}");
    }
}

/// Bugs that show without two things happening at once; the simulation has the others.
#[cfg(feature = "mutants")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_bugs_are_found() {
    let bugs = [Mutant::FloorIgnored, Mutant::NoPending, Mutant::CleanupNoFloor];
    let mut missed = Vec::new();
    for bug in bugs {
        let mut found = None;
        for seed in 1..=4 {
            if tokio::spawn(run(seed, 3, Some(bug))).await.is_err() {
                found = Some(seed);
                break;
            }
        }
        eprintln!("{bug:?}: seed {found:?}");
        if found.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
