//! Every user's feed, walked to its end, against the model.

use std::time::{Duration, Instant};

use fama_tests::graph::name;
use futures_util::{StreamExt, stream};

use crate::world::{World, difference};

const READERS: usize = 8;
/// An acknowledged post is in every feed within 30 s after faults.
const HEALED: Duration = Duration::from_secs(30);

pub async fn every_feed_is_exact(world: &World) {
    let begun = Instant::now();
    let model = world.shared.model.lock().expect("no task panicked");
    let expected: Vec<(String, Vec<u64>)> =
        (0..world.graph.people()).map(name).map(|user| (user.clone(), model.feed(&user))).collect();
    drop(model);
    let entries: usize = expected.iter().map(|(_, feed)| feed.len()).sum();
    stream::iter(&expected)
        .for_each_concurrent(READERS, async |(user, feed)| {
            // Pages of different sizes, so that their ends fall everywhere.
            let limit = 10 + feed.len() % 91;
            loop {
                let got = world.shared.walk(user, limit, false).await;
                if got == *feed {
                    return;
                }
                assert!(begun.elapsed() < HEALED, "{user} by {limit}: {}", difference(&got, feed));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
        .await;
    eprintln!("{} feeds with {entries} posts are exact, in {:?}", expected.len(), begun.elapsed());
}
