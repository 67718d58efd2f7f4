//! Readers that do not read.

use std::time::{Duration, Instant};

use fama_tests::eventually;
use fama_tests::server::{Setup, TestServer};
use fama_tests::socket::Session;
use fama_tests::token::user;
use fama_tests::wire::{Wire, frame};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::{Value, json};

const PATH: &str = "/connection/websocket";
const SLOW: usize = 2_000;
const QUEUE_TOTAL: usize = 16 << 20;
const MESSAGE: usize = 2 << 10;

/// Anybody signed in reads and writes.
const RULES: &str = "name = 'flood'\nsubscribe = 'user'\npublish = 'user'";

/// A client that subscribes and then reads no more.
async fn deaf(server: &TestServer, number: usize, channels: &[&str]) -> Wire {
    let mut wire = Wire::narrow_websocket(server.address(), PATH).await;
    let connect = json!({"id": 1, "connect": {"token": user(&format!("slow{number}"))}});
    wire.write(&frame(0x81, connect.to_string().as_bytes())).await;
    assert!(wire.frame().await.is_some(), "it is connected");
    for (id, channel) in (2..).zip(channels) {
        let subscribe = json!({"id": id, "subscribe": {"channel": channel}});
        wire.write(&frame(0x81, subscribe.to_string().as_bytes())).await;
        let reply = wire.frame().await.map(|frame| String::from_utf8_lossy(&frame.payload).into_owned());
        assert!(reply.as_ref().is_some_and(|reply| reply.contains("subscribe")), "{reply:?}");
    }
    wire
}

async fn publish(session: &Session, channel: &str, data: &Value) {
    session.command("publish", json!({"channel": channel, "data": data})).await.expect("it is published");
}

/// Whether the server closed it: what is left is read, and the answer is the close frame, or silence.
async fn was_shed(mut wire: Wire) -> bool {
    let end = tokio::time::timeout(Duration::from_secs(3), wire.close_code()).await;
    matches!(end, Ok(Some(3008) | None))
}

/// What waits for all sockets together is bounded; those for which most waits go first, and everybody else hears all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_that_do_not_read_are_bounded() {
    let server = Setup::new()
        .set("limits.queue_bytes_total", i64::try_from(QUEUE_TOTAL).expect("small"))
        // Else the system takes megabytes for each of them.
        .set("limits.send_buffer_bytes", 8_192)
        .namespace(RULES)
        .start();
    let server = &server;
    let connect = |channels: &'static [&'static str]| {
        iter(0..SLOW / 2).map(move |n| deaf(server, n, channels)).buffer_unordered(64).collect::<Vec<_>>()
    };
    // The first half has twice as much waiting as the second.
    let heavy = connect(&["flood:all", "flood:half"]).await;
    let light = connect(&["flood:all"]).await;
    let reader = Session::open(&server.ws_url(), "reader").await;
    reader.subscribe("flood:all", None).await.expect("it may");
    let writer = Session::open(&server.ws_url(), "writer").await;
    let memory = crate::resident(server);
    let text = "x".repeat(MESSAGE);
    let (mut sent, mut most_memory) = (0, 0);
    let begun = Instant::now();
    while crate::metric(server, "fama_gateway_shed_total", &[]).await == 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody is shed after {sent} messages");
        publish(&writer, "flood:all", &json!({"n": sent, "text": text})).await;
        publish(&writer, "flood:half", &json!({"text": text})).await;
        sent += 1;
        most_memory = most_memory.max(crate::resident(server));
        // Slowly, because counts reach the metrics once a second.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let waiting = crate::metric(server, "fama_gateway_queued_bytes", &[]).await;
    assert!(waiting <= QUEUE_TOTAL as f64 * 1.1, "{waiting} bytes wait");
    assert!(most_memory - memory.min(most_memory) < QUEUE_TOTAL * 4, "from {memory} to {most_memory} bytes");
    for n in 0..sent {
        let push = reader.push("a message", Duration::from_secs(5), |push| push.channel == "flood:all").await;
        assert_eq!(push.body["data"]["n"], n, "who reads hears all");
    }
    let shed = async |wires: Vec<Wire>| {
        let ends: Vec<bool> = iter(wires).map(was_shed).buffer_unordered(SLOW).collect().await;
        ends.into_iter().filter(|shed| *shed).count()
    };
    let (heavy, light) = tokio::join!(shed(heavy), shed(light));
    eprintln!(
        "{sent} messages; {heavy} with most waiting were shed, {light} of the others; {waiting} bytes wait"
    );
    assert!(heavy > 0 && light * 10 <= heavy, "{heavy} with most waiting were shed, {light} of the others");
    eventually("nothing waits any more", Duration::from_secs(15), async || {
        (crate::metric(server, "fama_gateway_queued_bytes", &[]).await == 0.0).then_some(())
    })
    .await;
    publish(&writer, "flood:all", &json!({"n": "after"})).await;
    reader.push("the message after", Duration::from_secs(5), |push| push.body["data"]["n"] == "after").await;
}

const FAST: usize = 200;
const ROUNDS: usize = 60;

/// How long messages take to all of the readers.
async fn latencies(writer: &Session, readers: &[Session]) -> Vec<Duration> {
    let mut times = Vec::with_capacity(ROUNDS * readers.len());
    let text = "x".repeat(2 << 10);
    for n in 0..ROUNDS {
        let sent = Instant::now();
        publish(writer, "flood:all", &json!({"n": n, "text": text})).await;
        for reader in readers {
            reader.push("a message", Duration::from_secs(10), |push| push.body["data"]["n"] == n).await;
            times.push(sent.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}

/// One in ten does not read: the others notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_are_not_noticed_by_others() {
    let server = Setup::new()
        .set("limits.queue_bytes", 65_536)
        .set("limits.send_buffer_bytes", 8_192)
        .namespace(RULES)
        .start();
    let writer = Session::open(&server.ws_url(), "writer").await;
    let mut readers = Vec::new();
    for n in 0..FAST {
        let reader = Session::open(&server.ws_url(), &format!("fast{n}")).await;
        reader.subscribe("flood:all", None).await.expect("it may");
        readers.push(reader);
    }
    let mut alone = latencies(&writer, &readers).await;
    let mut slow = Vec::new();
    for n in 0..FAST / 10 {
        slow.push(deaf(&server, n, &["flood:all"]).await);
    }
    let mut beside = latencies(&writer, &readers).await;
    let [p50, p90] = [50, 90].map(|p| (crate::percentile(&mut alone, p), crate::percentile(&mut beside, p)));
    eprintln!("p50 {:?} alone, {:?} beside slow readers; p90 {:?}, {:?}", p50.0, p50.1, p90.0, p90.1);
    for (alone, beside) in [p50, p90] {
        assert!(
            beside < alone * 3 / 2 + Duration::from_millis(5),
            "{alone:?} alone, {beside:?} beside slow readers"
        );
    }
    eventually("the slow ones are let go", Duration::from_secs(20), async || {
        publish(&writer, "flood:all", &json!({"text": "x".repeat(8 << 10)})).await;
        let closed = crate::metric(&server, "fama_gateway_closed_total", &["code=\"300"]).await;
        (closed >= (FAST / 10) as f64).then_some(())
    })
    .await;
    assert!(readers.iter().all(Session::is_open), "and nobody else is");
}
