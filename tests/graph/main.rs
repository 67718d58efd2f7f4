//! A real follow graph through the real program: 4,039 people, 176,468 follows; some authors are pushed, some pulled,
//! some change while posting goes on. Every feed, walked to its end, is what the model says; every connected follower
//! got every event once; the same after kill -9.

mod crowd;
mod faults;
mod feeds;
mod world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_graph_is_served_exactly() {
    let mut world = world::World::start(fama_tests::seed("graph")).await;
    let crowd = crowd::Crowd::connect(&world, 300).await;
    world.post_while_authors_change(3_000).await;
    crowd.settle().await;
    feeds::every_feed_is_exact(&world).await;
    world.change_relations().await;
    crowd.settle().await;
    world.judge();
    faults::kill_at_random_moments(&mut world, &crowd).await;
    crowd.settle().await;
    feeds::every_feed_is_exact(&world).await;
    crowd.leave().await;
    world.judge();
}
