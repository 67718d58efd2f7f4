//! Where feeds end, who sweeps, and what operators decide.

use fama_fanout::Feeds;
use fama_protocol::PostId;
use fama_storage::{Delivery, Mode, SLOTS};

use crate::world::{World, person};

const DAY_MS: u64 = 86_400_000;
/// After an announcement readers' lists and publishers agree.
const AGREED_MS: u64 = 70_000;

/// Posts beyond retention are in no feed, however it is read; by their ids they stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_end_where_retention_does() {
    let mut world = World::empty(10);
    let [ann, bob, star] = ["ann", "bob", "star"].map(person);
    let app = world.app.clone();
    world.feeds.writer.follow(&app, &ann, &[bob.clone(), star.clone()]).await.unwrap();
    world.feeds.modes.pin(&app, &star, Mode::Pull).await.unwrap().unwrap();
    world.advance(AGREED_MS);
    let mut old = Vec::new();
    let mut new = Vec::new();
    for posts in [&mut old, &mut new] {
        for author in [&bob, &star, &ann] {
            posts.insert(0, world.publish(author).await);
            world.advance(1_000);
        }
        world.run_jobs().await;
        world.rebuild_all().await;
        world.advance(365 * DAY_MS - 3_600_000);
    }
    // The second round came an hour before the first one's end; from there on the clock goes by hours.
    let all: Vec<PostId> = new.iter().chain(&old).copied().collect();
    assert_eq!(all.len(), 6);
    for (hours, expected) in [(0, &new), (2, &vec![])] {
        world.advance(hours * 3_600_000);
        for forget in [false, true] {
            if forget {
                world.restart(true);
            }
            assert_eq!(&world.walk(&ann, 2).await, expected, "{hours} h, {forget}");
            world.rebuild_all().await;
            assert_eq!(&world.walk(&ann, 2).await, expected, "{hours} h, {forget}, rebuilt");
        }
    }
    let kept = world.feeds.reader.posts(&app, Some(&ann), &all).await.unwrap();
    assert!(kept.iter().all(Option::is_some), "a post is deleted by its author alone");
    let fresh = world.publish(&bob).await;
    world.run_jobs().await;
    assert_eq!(world.walk(&ann, 2).await, [fresh]);
}

async fn sweep(feeds: &Feeds, all: bool) -> usize {
    let mut enqueued = 0;
    for slot in 0..SLOTS {
        let swept =
            if all { feeds.sweeper.recover(slot).await } else { feeds.sweeper.sweep_once(slot).await };
        enqueued += swept.unwrap().enqueued;
    }
    enqueued
}

/// Two sweepers at once hand out the same work twice at most, and nobody sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sweepers_do_no_harm() {
    let mut world = World::empty(11);
    let (ann, bob) = (person("ann"), person("bob"));
    let app = world.app.clone();
    world.feeds.writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    world.first_page(&ann).await;
    world.run_jobs().await;
    world.rebuild_all().await;
    let mut posts = Vec::new();
    for _ in 0..30 {
        posts.insert(0, world.publish(&bob).await);
    }
    for all in [false, true] {
        world.restart(false);
        world.advance(30_001);
        let other = world.feeds.clone();
        let (one, two) = tokio::join!(sweep(&world.feeds, all), sweep(&other, all));
        assert!((30..=60).contains(&(one + two)), "{one} and {two}");
        assert_eq!(sweep(&world.feeds, false).await, 0, "what was handed out has time to be done");
    }
    world.run_jobs().await;
    assert_eq!(world.stores.outbox.backlog().await.unwrap(), 0);
    assert_eq!(world.walk(&ann, 7).await, posts);
}

/// An operator's decision holds whatever the follower count says, until it is taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_author_stays_so() {
    let mut world = World::empty(12);
    let (ann, bob) = (person("ann"), person("bob"));
    let app = world.app.clone();
    world.feeds.writer.follow(&app, &ann, std::slice::from_ref(&bob)).await.unwrap();
    world.run_jobs().await;
    let pushed = world.publish(&bob).await;
    world.feeds.modes.pin(&app, &bob, Mode::Pull).await.unwrap().unwrap();
    world.advance(10 * DAY_MS);
    world.feeds.modes.reconcile_all().await.unwrap();
    assert!(!world.feeds.modes.check(&app, &bob).await.unwrap(), "one follower, and pinned");
    assert_eq!(world.feeds.writer.delivery_for(&app, &bob).await.unwrap(), Delivery::Pull);
    let pulled = world.publish(&bob).await;
    world.settle().await;
    assert_eq!(world.first_page(&ann).await, [pulled, pushed]);

    assert!(world.feeds.modes.unpin(&app, &bob).await.unwrap());
    world.feeds.modes.check(&app, &bob).await.unwrap();
    world.settle().await;
    world.advance(AGREED_MS);
    world.settle().await;
    assert_eq!(world.feeds.modes.mode(&app, &bob).await.unwrap(), Mode::Push, "one follower");
    let again = world.publish(&bob).await;
    world.settle().await;
    assert_eq!(world.walk(&ann, 2).await, [again, pulled, pushed]);

    // Pinned to push, a crowd changes nothing; let go, the crowd decides.
    world.feeds.modes.pin(&app, &bob, Mode::Push).await.unwrap().unwrap();
    for n in 0..61 {
        let fan = person(&format!("fan{n}"));
        world.feeds.writer.follow(&app, &fan, std::slice::from_ref(&bob)).await.unwrap();
    }
    world.settle().await;
    assert_eq!(world.feeds.modes.mode(&app, &bob).await.unwrap(), Mode::Push);
    assert!(world.feeds.modes.unpin(&app, &bob).await.unwrap());
    world.feeds.modes.check(&app, &bob).await.unwrap();
    world.settle().await;
    assert_eq!(world.feeds.modes.mode(&app, &bob).await.unwrap(), Mode::Pull);
    assert_eq!(world.walk(&ann, 2).await, [again, pulled, pushed]);
}
