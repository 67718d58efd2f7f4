//! What a shard counts. Counting is adding to plain numbers; once a second they go to the metrics.

use std::collections::BTreeMap;

use fama_protocol::UnixMs;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Upper ends of the buckets of delivery times, in milliseconds; the last has none.
const BUCKETS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];
/// One publication of so many is timed.
const SAMPLE: u32 = 16;

/// What one shard counted since the last second.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sockets accepted.
    pub accepted: u64,
    /// Sockets not accepted because this process has no more.
    pub accept_errors: u64,
    /// Handshakes accepted.
    pub upgraded: u64,
    /// Heads refused.
    pub refused: u64,
    /// Sockets beyond a limit that were closed without a word.
    pub dropped: u64,
    /// Connections ended because too much waited for all.
    pub shed: u64,
    /// Of the heads refused, those for a limit that was reached.
    limits: BTreeMap<&'static str, u64>,
    /// Requests handed to the router's server.
    pub handed_over: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Publications written, for each member one.
    pub publications_out: u64,
    /// Writes of them: fewer where several went together.
    pub writes: u64,
    /// Hints of the bus dropped, counted by turn.
    pub overruns: u64,
    /// Comings and goings not told, because too many waited for a channel.
    pub news_dropped: u64,
    closed: BTreeMap<u16, u64>,
    delays: [u64; BUCKETS.len() + 1],
    sampled: u32,
}

impl Counts {
    /// A connection was closed by us with this code, or (0) ended by itself.
    pub fn closed(&mut self, code: u16) {
        *self.closed.entry(code).or_default() += 1;
    }

    /// A head was refused; for this limit, or (empty) its own fault.
    pub fn refuse(&mut self, limit: &'static str) {
        self.refused += 1;
        if !limit.is_empty() {
            *self.limits.entry(limit).or_default() += 1;
        }
    }

    /// A publication is being written. One of several is timed, if it says when it was made.
    pub fn deliver(&mut self, members: &[u8], now: impl FnOnce() -> UnixMs) {
        self.sampled += 1;
        if self.sampled < SAMPLE {
            return;
        }
        self.sampled = 0;
        if let Some(made) = created_at(members) {
            let delay = now().since(made);
            let bucket = BUCKETS.partition_point(|end| *end < delay);
            self.delays[bucket] += 1;
        }
    }
}

/// The `created_at` of a new post's event: `"data":{"type":"post.created","post":{…,"created_at":"2026-11-22T17:34:56.007Z",…`.
fn created_at(members: &[u8]) -> Option<UnixMs> {
    const EVENT: &[u8] = b"\"data\":{\"type\":\"post.created\"";
    const KEY: &[u8] = b"\"created_at\":";
    if !members.starts_with(EVENT) {
        return None;
    }
    let at = members.windows(KEY.len()).rposition(|window| window == KEY)?;
    let text = members.get(at + KEY.len()..)?.get(..26)?;
    serde_json::from_slice(text).ok()
}

/// Where counts go.
#[derive(Debug)]
pub struct Metrics {
    accepted: Counter,
    accept_errors: Counter,
    upgraded: Counter,
    refused: Counter,
    dropped: Counter,
    shed: Counter,
    handed_over: Counter,
    messages_in: Counter,
    bytes_in: Counter,
    publications_out: Counter,
    writes: Counter,
    overruns: Counter,
    news_dropped: Counter,
    delays: Histogram,
    connections: Gauge,
    channels: Gauge,
    users: Gauge,
    queued: Gauge,
    strangers: Gauge,
    shard: String,
}

/// How things stand on a shard.
#[derive(Debug, Clone, Copy)]
pub struct Levels {
    /// Sockets open.
    pub connections: usize,
    /// Channels with members.
    pub channels: usize,
    /// Users online; the first shard counts them all.
    pub users: usize,
    /// Bytes that wait for sockets.
    pub queued: usize,
    /// Sockets that have not signed in; the first shard counts them all.
    pub strangers: usize,
}

impl Metrics {
    /// Of one shard.
    pub fn new(shard: u8) -> Self {
        let shard = shard.to_string();
        let label = shard.clone();
        Self {
            accepted: counter!("fama_gateway_accepted_total"),
            accept_errors: counter!("fama_gateway_accept_errors_total"),
            upgraded: counter!("fama_gateway_upgraded_total"),
            refused: counter!("fama_gateway_heads_refused_total"),
            dropped: counter!("fama_gateway_dropped_total"),
            shed: counter!("fama_gateway_shed_total"),
            handed_over: counter!("fama_gateway_http_total"),
            messages_in: counter!("fama_gateway_messages_in_total"),
            bytes_in: counter!("fama_gateway_bytes_in_total"),
            publications_out: counter!("fama_gateway_publications_out_total"),
            writes: counter!("fama_gateway_writes_total"),
            overruns: counter!("fama_gateway_bus_overruns_total"),
            news_dropped: counter!("fama_gateway_join_leave_dropped_total"),
            delays: histogram!("fama_gateway_delivery_seconds"),
            connections: gauge!("fama_gateway_connections", "shard" => label.clone()),
            channels: gauge!("fama_gateway_channels", "shard" => label.clone()),
            users: gauge!("fama_gateway_users_online", "shard" => label.clone()),
            queued: gauge!("fama_gateway_queued_bytes", "shard" => label.clone()),
            strangers: gauge!("fama_gateway_unauthenticated", "shard" => label),
            shard,
        }
    }

    /// Hands over and begins at zero.
    pub fn flush(&self, counts: &mut Counts, levels: Levels) {
        let counts = std::mem::take(counts);
        for (counter, count) in [
            (&self.accepted, counts.accepted),
            (&self.accept_errors, counts.accept_errors),
            (&self.upgraded, counts.upgraded),
            (&self.refused, counts.refused),
            (&self.dropped, counts.dropped),
            (&self.shed, counts.shed),
            (&self.handed_over, counts.handed_over),
            (&self.messages_in, counts.messages_in),
            (&self.bytes_in, counts.bytes_in),
            (&self.publications_out, counts.publications_out),
            (&self.writes, counts.writes),
            (&self.overruns, counts.overruns),
            (&self.news_dropped, counts.news_dropped),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        for (code, count) in counts.closed {
            counter!("fama_gateway_closed_total", "code" => code.to_string()).increment(count);
        }
        for (limit, count) in counts.limits {
            counter!("fama_gateway_limited_total", "limit" => limit).increment(count);
        }
        for (bucket, count) in counts.delays.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            #[expect(clippy::cast_precision_loss, reason = "at most 60,000")]
            let seconds = BUCKETS.get(bucket).copied().unwrap_or(60_000) as f64 / 1000.0;
            self.delays.record_many(seconds, usize::try_from(count).unwrap_or(usize::MAX));
        }
        for (gauge, level) in [
            (&self.connections, levels.connections),
            (&self.channels, levels.channels),
            (&self.users, levels.users),
            (&self.queued, levels.queued),
            (&self.strangers, levels.strangers),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
            gauge.set(level as f64);
        }
        tracing::trace!(shard = self.shard, "counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_post_is_found() {
        let members = br#""data":{"type":"post.created","post":{"id":"1","text":"\"created_at\":","created_at":"2026-11-22T17:34:56.007Z","rev":1}}"#;
        assert_eq!(created_at(members), Some(UnixMs(1_795_368_896_007)));
        assert_eq!(created_at(br#""data":{"type":"void"}"#), None);
        assert_eq!(created_at(br#""data":{"type":"post.created","created_at":"#), None);
    }
}
