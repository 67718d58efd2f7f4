//! What this process measures of itself, as the page's charts take it: the numbers of `/metrics`, as JSON.

use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::State as Extract;
use serde::Serialize;

use super::routes::demo;
use crate::api::State;
use crate::error::ApiResult;
use crate::telemetry::names;

/// Whoever asks within so many milliseconds of the last who asked gets the same.
const FRESH_MS: u64 = 400;

/// Counts since the start, and how things stand. Rates are for the page to compute, from two of these.
#[derive(Debug, Clone, Serialize)]
pub struct Vitals {
    /// Milliseconds since the process began, by a clock that never goes back.
    at_ms: u64,
    /// Sockets now.
    connections: usize,
    /// Users with a socket.
    users_online: u64,
    /// Posts acknowledged of authors who are pushed, and of those who are pulled.
    posts_pushed: u64,
    posts_pulled: u64,
    /// Posts whose last follower has been served, and how long after publishing that was, added up.
    fanned_out: u64,
    fan_out_ms: u64,
    /// Fan-out jobs that wait.
    jobs_waiting: u64,
    /// Publications written to sockets, for each receiver one.
    deliveries: u64,
    /// How long after publishing some of them were written: cumulative counts.
    delivery: Vec<Bucket>,
    /// Pages of feeds read.
    feed_pages: u64,
}

/// Of a histogram.
#[derive(Debug, Clone, Serialize, PartialEq)]
struct Bucket {
    /// The upper end in milliseconds; `null`: none.
    le_ms: Option<f64>,
    count: u64,
}

/// The last that was taken.
#[derive(Debug, Default)]
pub struct Last(Mutex<Option<Vitals>>);

/// Anybody may ask: it is a demonstration.
pub async fn vitals(Extract(state): Extract<State>) -> ApiResult<Json<Vitals>> {
    let demo = demo(&state)?;
    let at_ms = state.clock.monotonic_ms();
    let mut last = demo.vitals.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(vitals) = &*last
        && at_ms.saturating_sub(vitals.at_ms) < FRESH_MS
    {
        return Ok(Json(vitals.clone()));
    }
    let text = state.metrics.render();
    let (fanned_out, fan_out_ms) = state.feeds.fanned_out();
    let vitals = Vitals {
        at_ms,
        connections: state.connections(),
        users_online: total(&text, "fama_gateway_users_online", ""),
        posts_pushed: total(&text, names::POSTS, "delivery=\"push\""),
        posts_pulled: total(&text, names::POSTS, "delivery=\"pull\""),
        fanned_out,
        fan_out_ms,
        jobs_waiting: total(&text, names::JOBS, ""),
        deliveries: total(&text, "fama_gateway_publications_out_total", ""),
        delivery: buckets(&text, names::DELIVERY_SECONDS),
        feed_pages: total(&text, names::FEED_READS, ""),
    };
    *last = Some(vitals.clone());
    Ok(Json(vitals))
}

/// The samples of a metric: labels and value.
fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let (head, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let labels = match head {
            "" => "",
            head => head.strip_prefix('{')?.strip_suffix('}')?,
        };
        Some((labels, value.parse().ok()?))
    })
}

/// All samples whose labels have this one, added up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and not negative"
)]
fn total(text: &str, name: &str, label: &str) -> u64 {
    samples(text, name)
        .filter(|(labels, _)| labels.contains(label))
        .map(|(_, value)| value.max(0.0) as u64)
        .sum()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are whole and not negative"
)]
fn buckets(text: &str, name: &str) -> Vec<Bucket> {
    let name = format!("{name}_bucket");
    let bucket = |(labels, count): (&str, f64)| {
        let (_, end) = labels.split_once("le=\"")?;
        let end: f64 = end.split_once('"')?.0.parse().ok()?;
        Some(Bucket { le_ms: end.is_finite().then_some(end * 1_000.0), count: count as u64 })
    };
    samples(text, &name).filter_map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;
    use fama_storage::Delivery;

    #[test]
    fn what_prometheus_reads_is_found() {
        let metrics = Metrics::new().unwrap();
        for _ in 0..3 {
            metrics.published(Delivery::Push);
        }
        metrics.published(Delivery::Pull);
        for (lane, waiting) in [("small", 2.0), ("large", 5.0)] {
            metrics.gauge(names::JOBS, Some(("lane", lane))).set(waiting);
        }
        let text = metrics.render();
        assert_eq!(total(&text, names::POSTS, "delivery=\"push\""), 3, "{text}");
        assert_eq!((total(&text, names::POSTS, ""), total(&text, names::JOBS, "")), (4, 7), "{text}");
        assert_eq!(total(&text, "fama_no_such", ""), 0);
    }

    #[test]
    fn buckets_are_found() {
        let text = "# TYPE x histogram\nx_bucket{shard=\"0\",le=\"0.005\"} 3\nx_bucket{le=\"+Inf\"} 4\nx_sum 1\nx_count 4\n";
        let expected = [(Some(5.0), 3), (None, 4)].map(|(le_ms, count)| Bucket { le_ms, count });
        assert_eq!(buckets(text, "x"), expected);
        assert_eq!((total(text, "x_sum", ""), total(text, "x", "")), (1, 0));
    }
}
