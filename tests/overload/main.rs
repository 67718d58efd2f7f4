//! More than there is room for: ten thousand clients of a server that drains, readers that do not read, three times the
//! load. Minutes, and a machine to itself: part of `./tests/run`.

mod drain;
mod load;
mod readers;

use std::time::Duration;

use fama_tests::server::TestServer;

/// The sum of a metric's series that have all of `labels`.
async fn metric(server: &TestServer, name: &str, labels: &[&str]) -> f64 {
    let text = server.admin().get("/metrics").await.expect(200).text;
    let lines =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Bytes of memory in use by the server.
fn resident(server: &TestServer) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// The value below which so many of a hundred are.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
