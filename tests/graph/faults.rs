//! Kill -9 at random moments, while everybody posts.

use std::time::Duration;

use fama_tests::history::What;
use futures_util::{StreamExt, stream};
use rand::RngExt;

use crate::crowd::Crowd;
use crate::world::World;

const ROUNDS: usize = 6;
const POSTS: usize = 150;

pub async fn kill_at_random_moments(world: &mut World, crowd: &Crowd) {
    for round in 0..ROUNDS {
        let authors: Vec<String> = (0..POSTS).map(|_| world.somebody()).collect();
        let shared = world.shared.clone();
        let posting = tokio::spawn(async move {
            stream::iter(&authors)
                .for_each_concurrent(8, async |author| {
                    shared.post(author).await;
                })
                .await;
        });
        let moment = Duration::from_millis(world.random.random_range(5..800));
        tokio::time::sleep(moment).await;
        let fault = |active| What::Fault { what: format!("kill {round} after {moment:?}"), active };
        world.shared.recorder.event(fault(true));
        world.server.crash();
        world.arrive();
        world.shared.recorder.event(fault(false));
        posting.await.expect("every post is acknowledged in the end");
        crowd.all_here().await;
        eprintln!("kill {round} after {moment:?}");
    }
}
