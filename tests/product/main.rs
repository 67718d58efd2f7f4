//! The real program against a model: random people post, answer, repost, react, follow and undo all of it, at once; two
//! devices of each mark, come, go and reconnect; the program is killed. At rest every feed, inbox, count and device
//! agrees, and everybody is seen as they are.

mod devices;
mod model;
mod world;

use std::time::{Duration, Instant};

use rand::RngExt;
use reqwest::Method;
use serde_json::json;

use world::{Progress, World, method};

const ROUNDS: usize = 30;
const ACTS: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_equals_the_model_at_rest() {
    let mut world = World::start(fama_tests::seed("product")).await;
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let batch = world.batch(ACTS);
        world.done += batch.iter().map(|(_, acts)| acts.len()).sum::<usize>();
        let progress = Progress::new(&batch);
        if round % 10 == 5 {
            kill_during(&mut world, &batch, &progress).await;
        }
        world.run(&batch, &progress).await;
        world.rest("acts").await;
        world.feeds_rest("acts").await;
        for _ in 0..6 {
            mark(&mut world).await;
        }
        relate(&mut world).await;
        if world.chance(2) {
            reconnect(&mut world).await;
        }
        if world.chance(3) {
            come_and_go(&mut world).await;
        }
    }
    eprintln!("{} acts and {} rounds in {:?}", world.done, ROUNDS, begun.elapsed());
}

/// Kill -9 while everybody acts; what was not answered is to be repeated.
async fn kill_during(world: &mut World, batch: &[(String, Vec<world::Act>)], progress: &Progress) {
    let moment = Duration::from_millis(world.random.random_range(5..200));
    // Requests end with the program.
    let _ = tokio::time::timeout(moment, world.run(batch, progress)).await;
    world.server.crash();
    world.arrive().await;
}

/// A mark, or two by two devices at once.
async fn mark(world: &mut World) {
    let user = world.somebody();
    let list = world.list(&user).await;
    if list.is_empty() {
        return;
    }
    let (one, other) = (world.random.random_range(0..list.len()), world.random.random_range(0..list.len()));
    let how = world.random.random_range(0..10);
    let world_now = &*world;
    let post = async |path: &str, body: serde_json::Value| {
        let path = format!("/v1/notifications/{path}");
        world_now.until(&user, None, Method::POST, &path, Some(&body), 200).await
    };
    let up_to = |at: usize| json!({"up_to": list[at].0});
    let ids = json!({"ids": [list[one].0, list[other].0]});
    let below = |at: usize| list[at..].iter().map(|(_, shown)| shown.clone()).collect::<Vec<_>>();
    let both = [list[one].1.clone(), list[other].1.clone()];
    match how {
        0..=2 => drop(tokio::join!(post("seen", up_to(one)), post("seen", up_to(other)))),
        3 => drop(tokio::join!(post("read", up_to(one)), post("seen", up_to(other)))),
        4 => drop(tokio::join!(post("read", up_to(one)), post("read", up_to(other)))),
        5 | 6 => drop(post("read", ids).await),
        7 | 8 => drop(post("unread", ids).await),
        _ => {
            let path = format!("/v1/notifications/{}", list[one].0);
            world_now.until(&user, None, Method::DELETE, &path, None, 200).await;
        }
    }
    {
        let mut model = world.model.lock().expect("no task panicked");
        let inbox = model.inboxes.entry(user.clone()).or_default();
        let lowest = one.min(other);
        match how {
            0..=2 => inbox.change(&below(lowest), model::Group::see),
            3 => {
                let (read, seen) = (below(one), below(other));
                // What one changes looks different to the other.
                inbox.change(
                    &seen.iter().filter(|shown| !read.contains(shown)).cloned().collect::<Vec<_>>(),
                    model::Group::see,
                );
                inbox.change(&read, model::Group::read);
            }
            4 => inbox.change(&below(lowest), model::Group::read),
            5 | 6 => inbox.change(&both, model::Group::read),
            7 | 8 => inbox.change(&both, model::Group::unread),
            _ => inbox.change(&both[..1], model::Group::archive),
        }
    }
    world.rest("a mark").await;
}

/// A block or mute, or its end, while nothing else is going on: what comes before counts, what comes after does not.
async fn relate(world: &mut World) {
    let (user, target) = (world.somebody(), world.somebody());
    if user == target {
        return;
    }
    let (block, active) = (world.chance(2), !world.chance(3));
    let path = format!("/v1/{}/{target}", if block { "blocks" } else { "mutes" });
    world.until(&user, None, method(active), &path, None, 204).await;
    {
        let mut model = world.model.lock().expect("no task panicked");
        if block {
            model.block(&user, &target, active);
        } else {
            model.mute(&user, &target, active);
        }
    }
    world.rest("a relation").await;
    world.feeds_rest("a relation").await;
}

/// Some devices lose their connection and resume.
async fn reconnect(world: &mut World) {
    let url = world.server.ws_url();
    let first = world.random.random_range(0..world.devices.len());
    for device in world.devices.iter_mut().skip(first).step_by(3) {
        device.connect(&url).await;
    }
}

/// Some devices go, with or without a word, those that were away come back, and somebody chooses how to be seen.
async fn come_and_go(world: &mut World) {
    let url = world.server.ws_url();
    let first = world.random.random_range(0..4);
    let says_goodbye = world.chance(4);
    for device in world.devices.iter_mut().skip(first).step_by(3) {
        match device.is_connected() {
            false => device.connect(&url).await,
            true if says_goodbye => device.goodbye().await,
            true => device.disconnect(),
        }
    }
    let (user, chosen) = (world.somebody(), ["online", "away", "invisible"][world.random.random_range(0..3)]);
    let body = json!({"status": chosen});
    world.until(&user, None, Method::PUT, "/v1/presence", Some(&body), 204).await;
    world.model.lock().expect("no task panicked").chosen.insert(user, chosen);
    world.presence_rests("coming and going").await;
}
