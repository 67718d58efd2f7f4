//! More load than there is room for: refused with an answer, in time, and over when it is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fama_tests::rest::Rest;
use fama_tests::server::Setup;
use fama_tests::token::user;
use http::Method;
use serde_json::json;

/// Requests worked on at once, and until when one has to be its turn.
const AT_ONCE: usize = 4;
const REQUEST_MS: u64 = 200;

/// Callers at once in the flood.
const FLOOD: usize = 1_500;

/// What a run of requests brought.
#[derive(Default)]
struct Outcome {
    statuses: BTreeMap<u16, usize>,
    served: Vec<Duration>,
    without_retry: usize,
}

impl Outcome {
    fn goodput(&self, over: Duration) -> f64 {
        self.served.len() as f64 / over.as_secs_f64()
    }
}

/// So many callers, reading and writing, that ask again at once; when refused, after the time that they are told.
async fn run(url: &str, callers: usize, over: Duration) -> Outcome {
    let end = Instant::now() + over;
    let rest = Rest::pooled(url);
    let one = async |number: usize| {
        let rest = rest.clone().bearer(&user(&format!("u{number}")));
        let mut outcome = Outcome::default();
        while Instant::now() < end {
            let asked = Instant::now();
            let answer = if number.is_multiple_of(4) {
                let body = json!({"text": "one of many"}).to_string().into_bytes();
                rest.send(Method::POST, "/v1/posts", Some(body)).await
            } else {
                rest.send(Method::GET, "/v1/feed", None).await
            };
            // A connection that fails is none of the answers allowed.
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            *outcome.statuses.entry(status).or_default() += 1;
            match answer {
                Ok(answer) if matches!(status, 429 | 503) => {
                    let seconds = answer.header("retry-after").parse::<u64>();
                    outcome.without_retry += usize::from(seconds.is_err());
                    tokio::time::sleep(
                        Duration::from_secs(seconds.unwrap_or(1))
                            .min(end.saturating_duration_since(Instant::now())),
                    )
                    .await;
                }
                Ok(_) if matches!(status, 200 | 201) => outcome.served.push(asked.elapsed()),
                _ => {}
            }
        }
        outcome
    };
    let mut all = Outcome::default();
    for outcome in futures_util::future::join_all((0..callers).map(one)).await {
        for (status, n) in outcome.statuses {
            *all.statuses.entry(status).or_default() += n;
        }
        all.served.extend(outcome.served);
        all.without_retry += outcome.without_retry;
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_it_can_do_is_refused_and_then_all_is_well() {
    let server = Setup::new()
        .set("limits.requests", i64::try_from(AT_ONCE).expect("small"))
        .set("server.request_ms", i64::try_from(REQUEST_MS).expect("small"))
        .start();
    let over = Duration::from_secs(3);
    let _warm = run(&server.url(), AT_ONCE, over).await;
    let mut before = run(&server.url(), AT_ONCE, over).await;
    assert!(before.statuses.keys().all(|status| matches!(status, 200 | 201)), "{:?}", before.statuses);
    let memory = crate::resident(&server);

    let mut flood = run(&server.url(), FLOOD, Duration::from_secs(8)).await;
    let shed = flood.statuses.get(&503).copied().unwrap_or(0);
    let grown = crate::resident(&server).saturating_sub(memory);
    let allowed = |status: &u16| matches!(status, 200 | 201 | 409 | 429 | 503 | 504);
    assert!(flood.statuses.keys().all(allowed), "{:?}", flood.statuses);
    assert!(
        shed > 0 && flood.without_retry == 0,
        "{:?}, {} without Retry-After",
        flood.statuses,
        flood.without_retry
    );
    assert!(crate::metric(&server, "fama_http_shed_total", &[]).await > 0.0);
    assert!(grown < 256 << 20, "memory grew by {grown} bytes");

    let mut after = run(&server.url(), AT_ONCE, over).await;
    assert!(after.statuses.keys().all(|status| matches!(status, 200 | 201)), "{:?}", after.statuses);
    let [before_rate, after_rate] = [&before, &after].map(|outcome| outcome.goodput(over));
    let flood_rate = flood.goodput(Duration::from_secs(8));
    let [p50, p99, p50_after] = [(&mut before.served, 50), (&mut flood.served, 99), (&mut after.served, 50)]
        .map(|(times, percent)| crate::percentile(times, percent));
    eprintln!(
        "served/s {before_rate:.0} before, {flood_rate:.0} in the flood ({shed} refused, p99 of those served {p99:?}), \
         {after_rate:.0} after; p50 {p50:?} before, {p50_after:?} after; memory grew by {} MiB",
        grown >> 20
    );
    assert!(
        flood_rate > before_rate / 10.0,
        "{flood_rate} served a second in the flood, {before_rate} before it"
    );
    assert!(
        after_rate > before_rate / 2.0,
        "{after_rate} served a second after the flood, {before_rate} before it"
    );
}
