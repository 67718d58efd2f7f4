//! Addresses: whether they are free, who has them if not, and how a running server is.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde::Deserialize;

use super::Finding;
use crate::config::Config;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// By how much its clock may differ, in milliseconds: its answers say whole seconds.
const APART_MS: u64 = 3_000;

/// What `/health` says, of which this is looked at.
#[derive(Deserialize)]
struct Health {
    status: String,
    version: String,
}

/// Whether a server could listen where it should.
pub async fn ports(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let addresses =
        [("server.listen", config.server.listen), ("server.admin_listen", config.server.admin_listen)];
    for (key, address) in addresses {
        findings.push(port(key, address).await);
    }
    findings
}

async fn port(key: &'static str, address: SocketAddr) -> Finding {
    if address.port() == 0 {
        return Finding::ok(key, "any free port");
    }
    let Err(error) = TcpListener::bind(address) else {
        return Finding::ok(key, format!("{address} is free"));
    };
    if error.kind() == std::io::ErrorKind::AddrInUse && is_ours(address).await {
        return Finding::ok(key, format!("a server of this kind has {address} already"));
    }
    let fix = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "`ss -ltnp 'sport = :{}'` says who has it: end that, or choose another `{key}`",
                address.port()
            )
        }
        _ => format!(
            "choose an address of this machine as `{key}`, and a port above 1023 unless started as root"
        ),
    };
    Finding::fail(key, format!("can't listen on {address}: {error}"), fix)
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// Both listeners answer this, and little else does so without a body.
async fn is_ours(address: SocketAddr) -> bool {
    let Ok(client) = client() else { return false };
    let answer = client.get(format!("http://{address}/health/live")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// How a running server is: its health, its version beside this program's, its clock beside this machine's.
pub async fn running(url: &str) -> Vec<Finding> {
    let name = "server";
    let url = format!("{}/health", url.trim_end_matches('/'));
    let fix = "is it running, and is `--url` its public address, as in http://127.0.0.1:8000?";
    let answer = match client() {
        Ok(client) => client.get(&url).send().await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return vec![Finding::fail(name, format!("{url} does not answer: {error}"), fix)],
    };
    let date =
        answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok().map(str::to_owned));
    let Ok(health) = answer.json::<Health>().await else {
        return vec![Finding::fail(name, format!("{url} is not answered as by this kind of server"), fix)];
    };
    let mut findings = vec![match health.status.as_str() {
        "ok" => Finding::ok(name, "it is well"),
        "degraded" => {
            Finding::warn(name, "it says `degraded`", format!("{url} names the part; its log has the reason"))
        }
        status => Finding::fail(
            name,
            format!("it says `{status}`"),
            format!("{url} names the part; its log has the reason"),
        ),
    }];
    let ours = env!("CARGO_PKG_VERSION");
    findings.push(if health.version == ours {
        Finding::ok("version", format!("{ours} here and there"))
    } else {
        let message = format!("the server is {}, this program {ours}", health.version);
        Finding::warn(
            "version",
            message,
            "restart the server with this program, or use the program that it runs",
        )
    });
    findings.extend(date.and_then(|date| skew(&date)));
    findings
}

/// Compares the server's clock with this machine's. Nothing if it does not say.
fn skew(date: &str) -> Option<Finding> {
    use fama_fanout::Clock;
    let format = time::format_description::well_known::Rfc2822;
    let there = time::OffsetDateTime::parse(&date.replace("GMT", "+0000"), &format).ok()?;
    let there_ms = u64::try_from(there.unix_timestamp_nanos() / 1_000_000).ok()?;
    let here_ms = crate::clock::SystemClock::new().now().0;
    let apart = here_ms.abs_diff(there_ms);
    Some(if apart <= APART_MS {
        Finding::ok("clocks", "the server's clock and this one agree")
    } else {
        let message = format!("the server's clock and this one differ by {} s", apart / 1_000);
        Finding::warn(
            "clocks",
            message,
            "keep both right with chrony or systemd-timesyncd: tokens have 5 s of leeway",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_seen() {
        assert_eq!(skew("Thu, 01 Jan 2026 00:00:00 GMT").unwrap().status, Status::Warn);
        assert!(skew("yesterday").is_none());
    }
}
