//! Metrics of one server. Not process-wide: several servers in one process each have their own.

use std::sync::Arc;
use std::time::Duration;

use fama_storage::Delivery;
use http::{Method, StatusCode};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::names;

static METADATA: Metadata<'static> = Metadata::new("fama", Level::INFO, None);
/// Bounds of buckets for the time of requests, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];

/// Where parts of the server count.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    pushed: Counter,
    pulled: Counter,
    whole_pages: Counter,
    partial_pages: Counter,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Result<Self, BuildError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(names::HTTP_SECONDS.to_owned()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full(names::DELIVERY_SECONDS.to_owned()), &SECONDS)?;
        let recorder = builder.build_recorder();
        for (name, help) in names::HELP {
            let (name, help) = ((*name).into(), (*help).into());
            // A description belongs to a name, whatever its kind.
            recorder.describe_gauge(name, None, help);
        }
        let handle = recorder.handle();
        let of = |name, label, value| counter(&recorder, name, vec![Label::from_static_parts(label, value)]);
        Ok(Self {
            pushed: of(names::POSTS, "delivery", "push"),
            pulled: of(names::POSTS, "delivery", "pull"),
            whole_pages: of(names::FEED_READS, "partial", "false"),
            partial_pages: of(names::FEED_READS, "partial", "true"),
            handle,
            recorder,
        })
    }

    /// A request was answered.
    pub fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let labels = vec![
            Label::from_static_parts("method", method_name(method)),
            Label::new("route", route.to_owned()),
        ];
        let key = Key::from_parts(names::HTTP_SECONDS, labels.clone());
        self.recorder.register_histogram(&key, &METADATA).record(took.as_secs_f64());
        let status = Label::new("status", status.as_str().to_owned());
        let labels = labels.into_iter().chain([status]).collect();
        counter(&self.recorder, names::HTTP_REQUESTS, labels).increment(1);
    }

    /// A post was acknowledged.
    pub fn published(&self, delivery: Delivery) {
        match delivery {
            Delivery::Push => self.pushed.increment(1),
            Delivery::Pull => self.pulled.increment(1),
        }
    }

    /// A page of a feed was read.
    pub fn feed_read(&self, partial: bool) {
        if partial { self.partial_pages.increment(1) } else { self.whole_pages.increment(1) }
    }

    /// A value of its own time, with at most one label.
    pub fn gauge(&self, name: &'static str, label: Option<(&'static str, &'static str)>) -> Gauge {
        let labels: Vec<Label> =
            label.map(|(key, value)| Label::from_static_parts(key, value)).into_iter().collect();
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// A count that somebody else keeps.
    pub fn total(&self, name: &'static str, value: u64) {
        counter(&self.recorder, name, Vec::new()).absolute(value);
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Drains what histograms gathered; to be called every few seconds, or memory grows.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Takes what parts count by the macros of `metrics`, which know one recorder in a process: the first server's.
pub struct Shared(pub Arc<Metrics>);

impl Recorder for Shared {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.recorder.describe_counter(key, unit, help);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.recorder.describe_gauge(key, unit, help);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.0.recorder.describe_histogram(key, unit, help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.recorder.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.0.recorder.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.0.recorder.register_histogram(key, metadata)
    }
}

fn counter(recorder: &PrometheusRecorder, name: &'static str, labels: Vec<Label>) -> Counter {
    recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
}

/// Anybody can invent methods; there are few names for them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_template_and_labels_stay_few() {
        for (name, _) in names::HELP {
            let parts: Vec<&str> = name.split('_').collect();
            assert!(parts.len() >= 3 && parts[0] == "fama", "{name}");
        }
        let metrics = Metrics::new().unwrap();
        for number in 0..100 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
            metrics.request(&method, "(none)", StatusCode::METHOD_NOT_ALLOWED, Duration::from_millis(1));
        }
        metrics.published(Delivery::Pull);
        metrics.gauge(names::JOBS, Some(("lane", "small"))).set(3.0);
        let text = metrics.render();
        let expected = "fama_http_requests_total{method=\"other\",route=\"(none)\",status=\"405\"} 100";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("fama_posts_published_total{delivery=\"pull\"} 1"), "{text}");
        assert!(text.contains("fama_fanout_jobs{lane=\"small\"} 3"), "{text}");
        assert!(text.contains("fama_http_request_seconds_bucket"), "{text}");
    }
}
