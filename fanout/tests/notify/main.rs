//! Acts, undoings, marks, blocks, and their jobs in any order and any number of times: every inbox ends with the acts
//! that stand, each in one group, and counts what it shows.

#![allow(clippy::unwrap_used, reason = "assertions of tests")]

mod world;

use fama_fanout::JobQueue;
use fama_fanout::jobs::Lane;
use fama_protocol::{Channel, ScopedChannel};
use fama_storage::{Audience, Dispatch, Mark, Priority};
use futures_util::FutureExt;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::world::{World, person};

/// Something that happens. Numbers stand for whatever there is at that place.
#[derive(Debug, Clone)]
enum Step {
    Publish { who: u8, reply_to: Option<usize>, repost_of: Option<usize>, mentions: u8 },
    Delete { post: usize },
    React { who: u8, post: usize, kind: u8, active: bool },
    Follow { who: u8, author: u8, active: bool },
    Relate { who: u8, target: u8, block: bool, active: bool },
    Mark { who: u8, place: usize, how: u8 },
    Job { place: usize },
    Again { place: usize },
    Wait { hours: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, place) = (0..world::PEOPLE, any::<usize>());
    let some = prop::option::weighted(0.4, any::<usize>());
    prop_oneof![
        4 => (who.clone(), some.clone(), some, any::<u8>())
            .prop_map(|(who, reply_to, repost_of, mentions)| Step::Publish { who, reply_to, repost_of, mentions }),
        1 => place.prop_map(|post| Step::Delete { post }),
        8 => (who.clone(), place, 0..2_u8, any::<bool>())
            .prop_map(|(who, post, kind, active)| Step::React { who, post, kind, active }),
        4 => (who.clone(), who.clone(), any::<bool>())
            .prop_map(|(who, author, active)| Step::Follow { who, author, active }),
        1 => (who.clone(), who.clone(), any::<bool>(), prop::bool::weighted(0.6))
            .prop_map(|(who, target, block, active)| Step::Relate { who, target, block, active }),
        4 => (who, place, 0..4_u8).prop_map(|(who, place, how)| Step::Mark { who, place, how }),
        12 => place.prop_map(|place| Step::Job { place }),
        4 => place.prop_map(|place| Step::Again { place }),
        1 => (0..20_u64).prop_map(|hours| Step::Wait { hours }),
    ]
}

async fn run(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        world.pass(1);
        match step {
            Step::Publish { who, reply_to, repost_of, mentions } => {
                world.publish(who, reply_to, repost_of, mentions).await;
            }
            Step::Delete { post } => world.delete(post).await,
            Step::React { who, post, kind, active } => world.react(who, post, kind, active).await,
            Step::Follow { who, author, active } => world.follow(who, author, active).await,
            Step::Relate { who, target, block, active } => {
                // What came before counts, what comes after does not.
                world.drain().await;
                world.relate(who, target, block, active).await;
                world.drain().await;
            }
            Step::Mark { who, place, how } => world.mark(who, place, how).await,
            Step::Job { place } => world.job(place).await,
            Step::Again { place } => world.again(place).await,
            Step::Wait { hours } => world.pass(hours * 3_600_000),
        }
    }
    world.drain().await;
    world.compare().await;
    world.everything_again().await;
    world.compare().await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("NOTIFY_CASES").map_or(200, |cases| cases.parse().unwrap()),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]
    #[test]
    fn inboxes_converge_whatever_the_order(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}

#[tokio::test]
async fn a_dispatch_goes_page_by_page_in_its_lane() {
    let mut world = World::new();
    for fan in 1..world::PEOPLE {
        world.follow(fan, 0, true).await;
    }
    world.drain().await;
    // Their jobs were done past the queue.
    while let Some(received) = world.jobs.receive(Lane::Small).now_or_never() {
        world.jobs.ack(received.unwrap().ticket).await.unwrap();
    }
    let listener = person(1);
    let channel = ScopedChannel::new(&world.app, Channel::user(&listener));
    world.open_log(&channel).await;
    let dispatch = |number, priority| Dispatch {
        id: world.mint(number),
        audience: Audience::FollowersOf(person(0)),
        kind: "news".into(),
        data: None,
        group_key: None,
        dedupe_key: None,
        priority,
        expires_at: None,
    };
    for (number, priority, lane) in [
        (1, Priority::Urgent, Lane::Urgent),
        (2, Priority::Normal, Lane::Small),
        (3, Priority::Bulk, Lane::Bulk),
    ] {
        let dispatch = dispatch(number, priority);
        world.feeds.inbox.dispatch(&world.app, &dispatch, None).await.unwrap();
        let first = world.jobs.receive(lane).now_or_never().expect("a job").unwrap();
        world.feeds.worker.run_one(first.clone()).await;
        // The first page again, as after a lost answer.
        world.feeds.worker.run_one(first).await;
        let onward = lane.onward();
        while let Some(received) = world.jobs.receive(onward).now_or_never() {
            world.feeds.worker.run_one(received.unwrap()).await;
        }
        assert_eq!(world.stores.inbox.dispatch_of(&world.app, dispatch.id).await.unwrap(), None);
        for fan in 1..world::PEOPLE {
            let news = world.list(fan).await.into_iter().filter(|group| group.kind == "news").count();
            assert_eq!(news, usize::from(u8::try_from(number).unwrap()), "{fan}");
        }
    }
    assert_eq!(world.log(&channel).await.len(), 3, "told once of each");
    let marked = world.feeds.inbox.mark(&world.app, &listener, &Mark::Read(world.mint(99))).await.unwrap();
    assert_eq!((marked.unread, world.log(&channel).await.len()), (0, 4));
}
