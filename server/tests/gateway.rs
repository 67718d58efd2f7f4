//! The connection engine over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gateway_world;

use std::time::{Duration, Instant};

use fama_protocol::AppId;
use fama_protocol::centrifuge::DisconnectCode;
use fama_storage::Relation;
use gateway_world::{user, world, world_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_subscribe_publish_and_come_back() {
    let world = world(|_| {}).await;
    let mut alice = world.client().await;
    // Everything in one frame, before any answer: the order holds.
    alice
        .send("{\"id\":1,\"connect\":{\"token\":\"alice/60000\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"chat:x\"}}\n{\"id\":3,\"publish\":{\"channel\":\"chat:x\",\"data\":{\"n\":1}}}")
        .await;
    let connected = alice.next().await.unwrap().connect.unwrap();
    assert!(connected.expires && (48..=50).contains(&connected.ttl) && connected.pong, "{connected:?}");
    assert!(connected.subs["user:#alice"].recoverable);
    let subscribed = alice.next().await.unwrap().subscribe.unwrap();
    assert!(subscribed.recoverable && subscribed.positioned && subscribed.offset == 0);
    let mut seen = [alice.next().await.unwrap(), alice.next().await.unwrap()];
    seen.sort_by_key(|reply| reply.id);
    assert_eq!(seen[1].id, 3);
    let publication = seen[0].push.clone().unwrap().publication.unwrap();
    let info = publication.info.unwrap();
    assert_eq!((publication.data.get(), publication.offset, &*info.user), ("{\"n\":1}", 1, "alice"));
    assert_eq!((info.client, info.conn_info.unwrap().get()), (connected.client, "{\"name\":\"alice\"}"));

    let mut bob = world.user("bob").await;
    for n in 2..5 {
        let reply =
            bob.ask(&format!("{{\"id\":{n},\"publish\":{{\"channel\":\"chat:x\",\"data\":{n}}}}}")).await;
        assert!(reply.publish.is_some(), "{reply:?}");
    }
    for n in 2..5u64 {
        assert_eq!(alice.publication().await, ("chat:x".to_owned(), n.to_string(), n));
    }
    let recover = |offset, epoch: &str| {
        format!(
            "{{\"id\":9,\"subscribe\":{{\"channel\":\"chat:x\",\"recover\":true,\"offset\":{offset},\"epoch\":\"{epoch}\"}}}}"
        )
    };
    let back = bob.ask(&recover(2, &subscribed.epoch)).await.subscribe.unwrap();
    let offsets: Vec<_> = back.publications.iter().map(|it| (it.offset, it.data.get())).collect();
    assert_eq!((back.recovered, back.was_recovering, back.offset), (true, true, 2));
    assert_eq!(offsets, [(3, "3"), (4, "4")]);
    assert_eq!(bob.ask(&recover(4, &subscribed.epoch)).await.error.unwrap().code, 105);
    let done = bob.ask("{\"id\":10,\"unsubscribe\":{\"channel\":\"chat:x\"}}").await;
    assert!(done.unsubscribe.is_some());
    let lost = bob.ask(&recover(2, "abc")).await.subscribe.unwrap();
    assert_eq!(
        (lost.recovered, lost.was_recovering, lost.offset, lost.publications.len()),
        (false, true, 4, 0)
    );

    let history = |limit, reverse| {
        format!(
            "{{\"id\":11,\"history\":{{\"channel\":\"chat:x\",\"limit\":{limit},\"reverse\":{reverse}}}}}"
        )
    };
    let kept = bob.ask(&history(2, true)).await.history.unwrap();
    assert_eq!(kept.publications.iter().map(|it| it.offset).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(bob.ask(&history(0, false)).await.history.unwrap().offset, 4);
    assert_eq!(bob.ask(&history(-1, false)).await.history.unwrap().publications.len(), 4);
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_and_errors() {
    let world = world(|_| {}).await;
    let mut alice = world.user("alice").await;
    for (command, code) in [
        ("\"subscribe\":{\"channel\":\"user:#bob\"}", 103),
        ("\"subscribe\":{\"channel\":\"user:#alice\"}", 105),
        ("\"subscribe\":{\"channel\":\"nowhere:x\"}", 102),
        ("\"subscribe\":{\"channel\":\"bare\"}", 103),
        ("\"subscribe\":{\"channel\":\"a b\"}", 107),
        ("\"subscribe\":{\"channel\":\"gate:x\"}", 103),
        ("\"subscribe\":{\"channel\":\"chat:x#bob\"}", 103),
        ("\"rpc\":{\"method\":\"m\"}", 104),
        ("\"presence\":{\"channel\":\"chat:x\"}", 108),
        ("\"history\":{\"channel\":\"chat:x\"}", 103),
    ] {
        let reply = alice.ask(&format!("{{\"id\":5,{command}}}")).await;
        assert_eq!(reply.error.unwrap().code, code, "{command}");
    }
    // The next mistake is one too many.
    alice.send("{\"id\":6,\"rpc\":{}}").await;
    assert_eq!(alice.close_code().await, 3509);

    let mut bob = world.user("bob").await;
    let opened =
        bob.ask("{\"id\":2,\"subscribe\":{\"channel\":\"gate:x\",\"token\":\"gate:x@bob/60000\"}}").await;
    let opened = opened.subscribe.unwrap();
    assert!(opened.expires && opened.ttl == 49 || opened.ttl == 50, "{opened:?}");
    assert!(
        bob.ask("{\"id\":3,\"sub_refresh\":{\"channel\":\"gate:x\",\"token\":\"gate:x@bob/90000\"}}")
            .await
            .sub_refresh
            .unwrap()
            .ttl
            > 70
    );
    bob.send("{\"id\":4,\"subscribe\":{\"channel\":\"gate:y\",\"token\":\"gate:y@alice\"}}").await;
    assert_eq!(bob.close_code().await, 3500);

    for (first, code) in [
        ("{\"id\":1,\"connect\":{\"token\":\"bad\"}}", 3500),
        ("{\"id\":1,\"subscribe\":{\"channel\":\"chat:x\"}}", 3501),
        ("{\"id\":1,\"connect\":{\"token\":\"a\"}}\n{\"id\":2,\"connect\":{\"token\":\"a\"}}", 3501),
        ("no json", 3501),
        ("{\"id\":1,\"connect\":{\"token\":\"a\"}}\n{\"send\":{}}", 3508),
    ] {
        let mut client = world.client().await;
        client.send(first).await;
        assert_eq!(client.close_code().await, code, "{first}");
    }
    for (token, code) in [("", 101), ("old", 109)] {
        let mut client = world.client().await;
        let reply = client.ask(&format!("{{\"id\":1,\"connect\":{{\"token\":\"{token}\"}}}}")).await;
        assert_eq!(reply.error.unwrap().code, code);
    }
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_own_channel_delivers_and_recovers() {
    let world = world(|_| {}).await;
    let (mut one, mut two) = (world.user("alice").await, world.user("alice").await);
    world.event("e1", &["alice", "nobody"], "bob").await;
    for client in [&mut one, &mut two] {
        let got = client.publication().await;
        assert_eq!(got, ("user:#alice".into(), "{\"type\":\"test\",\"name\":\"e1\"}".into(), 1));
    }
    // A muted actor's events are void, and keep their offsets.
    let (app, dora, carl) = (AppId::default(), user("dora"), user("carl"));
    world.stores.graph.relate(&app, &dora, Relation::Mute, &carl, true, 10, world.now()).await.unwrap();
    let mut muting = world.user("dora").await;
    world.event("m1", &["dora"], "carl").await;
    assert_eq!(muting.publication().await, ("user:#dora".into(), "{\"type\":\"void\"}".into(), 1));
    let mut three = world.client().await;
    let connected = three.ask("{\"id\":1,\"connect\":{\"token\":\"alice\"}}").await.connect.unwrap();
    let epoch = connected.subs["user:#alice"].epoch.clone();
    two.goodbye().await;
    drop(one);
    world.event("e2", &["alice"], "bob").await;
    world.event("e3", &["alice"], "bob").await;
    assert_eq!(three.publication().await.2, 2);
    let mut back = world.client().await;
    let again = back
        .ask(&format!("{{\"id\":1,\"connect\":{{\"token\":\"alice\",\"subs\":{{\"user:#alice\":{{\"recover\":true,\"offset\":1,\"epoch\":\"{epoch}\"}}}}}}}}"))
        .await
        .connect
        .unwrap();
    let own = &again.subs["user:#alice"];
    assert!(own.recovered && own.publications.iter().map(|it| it.offset).eq([2, 3]), "{own:?}");
    assert_eq!((own.offset, back.closed.is_none()), (1, true));
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celebrities_come_and_go_by_pushes() {
    let world = world(|_| {}).await;
    let (app, alice, star) = (AppId::default(), user("alice"), user("star"));
    world.stores.graph.follow(&app, &alice, std::slice::from_ref(&star), 5_000, world.now()).await.unwrap();
    let mut client = world.client().await;
    let connected = client.ask("{\"id\":1,\"connect\":{\"token\":\"alice\"}}").await.connect.unwrap();
    assert!(connected.subs["author:star"].recoverable && !connected.subs.contains_key("author:nova"));
    world.author_event("star", 7).await;
    assert_eq!(client.publication().await.0, "author:star");
    world.stores.graph.unfollow(&app, &alice, &star, false, world.now()).await.unwrap();
    world.delivery.viewers_changed(&app, std::slice::from_ref(&alice)).await.unwrap();
    let push = client.next().await.unwrap().push.unwrap();
    assert_eq!((&*push.channel, push.unsubscribe.unwrap().code), ("author:star", 2000));
    world.stores.graph.follow(&app, &alice, &[user("nova")], 5_000, world.now()).await.unwrap();
    world.delivery.viewers_changed(&app, std::slice::from_ref(&alice)).await.unwrap();
    let push = client.next().await.unwrap().push.unwrap();
    assert_eq!((&*push.channel, push.subscribe.unwrap().recoverable), ("author:nova", true));
    world.author_event("star", 8).await;
    world.author_event("nova", 9).await;
    assert_eq!(client.publication().await.0, "author:nova");
    // Who is no celebrity any more has no channel, who becomes one gets it.
    *world.stars.0.lock().unwrap() = [user("star")].into();
    let push = client.next().await.unwrap().push.unwrap();
    assert_eq!((&*push.channel, push.unsubscribe.unwrap().code), ("author:nova", 2000));
    *world.stars.0.lock().unwrap() = [user("star"), user("nova")].into();
    let push = client.next().await.unwrap().push.unwrap();
    assert_eq!((&*push.channel, push.subscribe.unwrap().recoverable), ("author:nova", true));
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_reach_everybody_once_and_in_order() {
    let world = world(|config| config.ping_s = 1_000).await;
    let mut clients = Vec::new();
    for n in 0..100 {
        let mut client = world.client().await;
        let channel = if n % 10 == 0 { "raw:x" } else { "chat:x" };
        let (connect, subscribe) = (format!("\"token\":\"u{n}\""), format!("\"channel\":\"{channel}\""));
        client
            .send(&format!(
                "{{\"id\":1,\"connect\":{{{connect}}}}}\n{{\"id\":2,\"subscribe\":{{{subscribe}}}}}"
            ))
            .await;
        clients.push(client);
    }
    for client in &mut clients {
        assert!(client.next().await.unwrap().connect.is_some());
        assert!(client.next().await.unwrap().subscribe.is_some());
    }
    let publish = async |client: &mut gateway_world::Client, channel: &str| {
        for n in 1..=200u64 {
            client
                .send(&format!("{{\"id\":{},\"publish\":{{\"channel\":\"{channel}\",\"data\":{n}}}}}", n + 2))
                .await;
        }
    };
    let mut sender = world.user("sender").await;
    publish(&mut sender, "chat:x").await;
    let mut sender = world.user("sender").await;
    publish(&mut sender, "raw:x").await;
    for (n, client) in clients.iter_mut().enumerate() {
        for want in 1..=200u64 {
            let (channel, data, offset) = client.publication().await;
            let positioned = channel == "chat:x";
            assert_eq!((data, offset), (want.to_string(), if positioned { want } else { 0 }), "client {n}");
        }
    }
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_of_too_many_connections_is_closed() {
    let world = world_of(2, |_| {}).await;
    let (mut one, mut two) = (world.user("alice").await, world.user("alice").await);
    let mut three = world.user("alice").await;
    assert_eq!(one.close_code().await, 3504);
    world.handle.disconnect_user(&AppId::default(), &user("alice"), DisconnectCode::FORCE_DISCONNECT);
    assert_eq!((two.close_code().await, three.close_code().await), (3503, 3503));
    let mut four = world.user("bob").await;
    world.handle.disconnect_token(&AppId::default(), "jti-bob", DisconnectCode::INVALID_TOKEN);
    assert_eq!(four.close_code().await, 3500);
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_and_are_refreshed() {
    let world = world(|_| {}).await;
    let (mut short, mut fresh) = (world.user("alice/1000").await, world.user("bob/1000").await);
    let began = Instant::now();
    let reply = fresh.ask("{\"id\":2,\"refresh\":{\"token\":\"bob/60000\"}}").await;
    assert!(reply.refresh.unwrap().ttl > 45);
    assert_eq!(short.close_code().await, 3005);
    let lived = began.elapsed();
    assert!((Duration::from_millis(5_500)..Duration::from_millis(7_500)).contains(&lived), "{lived:?}");
    assert!(fresh.ask("{\"id\":3,\"subscribe\":{\"channel\":\"raw:x\"}}").await.subscribe.is_some());
    fresh.send("{\"id\":4,\"refresh\":{\"token\":\"carl\"}}").await;
    assert_eq!(fresh.close_code().await, 3500);
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_want_their_pongs() {
    let world = world(|config| config.ping_s = 2).await;
    let mut polite = world.user("alice").await;
    let mut deaf = world.client().await;
    deaf.ask("{\"id\":1,\"connect\":{\"token\":\"bob\"}}").await;
    let began = Instant::now();
    // `close_code` answers pings; so that nothing does, this one is only looked at after its time.
    let waited = tokio::time::timeout(Duration::from_secs(5), polite.next()).await;
    assert!(waited.is_err(), "still there");
    assert!(began.elapsed() > Duration::from_secs(4));
    let code = deaf.close_code().await;
    assert_eq!(code, 3012);
    world.handle.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_sends_everybody_away() {
    let world = world(|_| {}).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(world.user(&format!("u{n}")).await);
    }
    let address = world.handle.local_addr();
    let (codes, ()) = tokio::join!(
        async {
            let mut codes = Vec::new();
            for client in &mut clients {
                codes.push(client.close_code().await);
            }
            codes
        },
        world.handle.drain(Duration::from_millis(300)),
    );
    assert!(codes.iter().all(|code| *code == 3001), "{codes:?}");
    let refused = tokio_tungstenite::connect_async(format!("ws://{address}/connection/websocket")).await;
    assert!(format!("{:?}", refused.unwrap_err()).contains("503"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.handle.connections(), 0);
    world.handle.stop();
}
