//! What makes no sense together, and how to mend it.

use std::collections::HashSet;
use std::net::IpAddr;

use http::{Method, Uri};

use super::namespaces::RESERVED;
use super::{Bus, ChannelRules, Config, ConfigError, Recovery, Secret};
use crate::auth::api_keys::ApiKeys;
use crate::net::Network;

type Result = std::result::Result<(), ConfigError>;

/// Fewest bytes of a secret that signs.
pub const MIN_SECRET: usize = 32;

fn fail(message: impl Into<String>) -> Result {
    Err(ConfigError(message.into()))
}

impl Config {
    pub(super) fn validate(&self) -> Result {
        self.validate_server()?;
        self.validate_auth()?;
        self.validate_limits()?;
        self.validate_cluster()?;
        rules("channels", &self.channels)?;
        for namespace in &self.namespaces {
            let name = &namespace.name;
            let characters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(characters) {
                return fail(format!(
                    "the namespace `{name}` must have 1 to 64 characters of A-Z a-z 0-9 _ - ."
                ));
            }
            if RESERVED.contains(&name.as_str()) {
                return fail(format!("the namespace `{name}` is Fama's own; choose another name"));
            }
            rules(&format!("namespaces.{name}"), &namespace.rules)?;
        }
        Ok(())
    }

    fn validate_server(&self) -> Result {
        let server = &self.server;
        if server.roles.is_empty() {
            return fail("`server.roles` is empty: leave it out for all of gateway, api, fanout, janitor");
        }
        if !server.admin_listen.ip().is_loopback() && server.admin_token.is_none() {
            return fail(format!(
                "`server.admin_listen` is {}, which others can reach: set `server.admin_token`, or listen on 127.0.0.1",
                server.admin_listen
            ));
        }
        if server.listen.port() != 0 && server.listen == server.admin_listen {
            return fail(
                "`server.listen` and `server.admin_listen` are the same: give one of them another port",
            );
        }
        match (&server.tls_cert_file, &server.tls_key_file) {
            (Some(_), None) => {
                return fail("`server.tls_cert_file` is set without its key: set `server.tls_key_file` too");
            }
            (None, Some(_)) => {
                return fail(
                    "`server.tls_key_file` is set without its certificate: set `server.tls_cert_file` too",
                );
            }
            _ => {}
        }
        for origin in &server.allowed_origins {
            let plain = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if plain.is_none_or(|host| host.is_empty() || host.contains(['/', '*', '@', '?', '#', ' '])) {
                return fail(format!(
                    "`server.allowed_origins` has `{origin}`: write scheme and host as browsers send it, such as https://app.example.com"
                ));
            }
        }
        for proxy in &server.trusted_proxies {
            if proxy.parse::<Network>().is_err() {
                return fail(format!(
                    "`server.trusted_proxies` has `{proxy}`: write an address or a network such as 10.0.0.0/8"
                ));
            }
        }
        for (key, value, low, high) in [
            ("ping_s", server.ping_s, 1, 300),
            ("request_ms", server.request_ms, 100, 60_000),
            ("body_ms", server.body_ms, 100, 60_000),
            ("body_bytes", server.body_bytes as u64, 32_768, 1 << 20),
            ("drain_s", server.drain_s, 1, 3_600),
            ("shards", server.shards as u64, 0, 256),
        ] {
            between(&format!("server.{key}"), value, low, high)?;
        }
        Ok(())
    }

    fn validate_auth(&self) -> Result {
        let auth = &self.auth;
        secret("auth.hmac_secret", auth.hmac_secret.as_ref())?;
        secret("storage.cursor_secret", self.storage.cursor_secret.as_ref())?;
        if self.server.admin_token.as_ref().is_some_and(|token| token.expose().len() < 16) {
            return fail(
                "`server.admin_token` has less than 16 bytes: `openssl rand -hex 16` makes a good one",
            );
        }
        if let Some(url) = &auth.jwks_url {
            let uri: Option<Uri> = url.parse().ok();
            let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            let local = host == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
            match uri.as_ref().and_then(Uri::scheme_str) {
                Some("https") => {}
                Some("http") if local => {}
                _ => {
                    return fail(format!(
                        "`auth.jwks_url` is `{url}`: use https, because whoever changes the keys on the way signs in as anyone"
                    ));
                }
            }
        }
        between("auth.jwks_refresh_s", auth.jwks_refresh_s, 10, 86_400)?;
        between("auth.jwks_overlap_s", auth.jwks_overlap_s, 0, 7 * 86_400)?;
        ApiKeys::parse(&auth.api_keys)
            .map(|_| ())
            .map_err(|why| ConfigError(format!("`auth.api_keys`: {why}")))
    }

    fn validate_limits(&self) -> Result {
        let (up, down) = (self.fanout.celebrity_up, self.fanout.celebrity_down);
        if down >= up {
            return fail(format!(
                "`fanout.celebrity_down` ({down}) must be below `fanout.celebrity_up` ({up}), or authors near the border change all the time: {} would do",
                up * 6 / 10
            ));
        }
        for route in &self.limits.routes {
            RouteRate::parse(route).map_err(|why| ConfigError(format!("`limits.routes`: {why}")))?;
        }
        for (key, value, low, high) in [
            ("fanout.celebrity_up", up, 2, u64::MAX),
            ("fanout.active_days", self.fanout.active_days, 1, 3_650),
            ("fanout.workers_small", self.fanout.workers_small as u64, 1, 1_024),
            ("fanout.workers_large", self.fanout.workers_large as u64, 1, 1_024),
            ("feed.hot_cap", self.feed.hot_cap as u64, 1, 10_000),
            ("feed.retention_days", self.feed.retention_days, 1, 36_500),
            ("feed.cached_feeds", self.feed.cached_feeds as u64, 1, 100_000_000),
            ("graph.follow_cap", self.graph.follow_cap, 1, 10_000),
            ("graph.relation_cap", self.graph.relation_cap, 1, 10_000),
            ("limits.tracked", self.limits.tracked as u64, 1_000, 100_000_000),
            ("limits.connections", self.limits.connections as u64, 1, 10_000_000),
            ("limits.connections_per_user", self.limits.connections_per_user as u64, 1, 10_000),
            ("limits.queue_bytes", self.limits.queue_bytes as u64, 65_536, 1 << 30),
            ("limits.queue_bytes_total", self.limits.queue_bytes_total as u64, 1 << 20, 1 << 40),
            ("limits.requests", self.limits.requests as u64, 1, 1_000_000),
            ("limits.send_buffer_bytes", self.limits.send_buffer_bytes as u64, 0, 1 << 30),
            ("limits.handshakes_per_s", self.limits.handshakes_per_s.into(), 0, 1_000_000),
            ("presence.grace_s", self.presence.grace_s, 0, 600),
        ] {
            between(key, value, low, high)?;
        }
        Ok(())
    }

    fn validate_cluster(&self) -> Result {
        let cluster = &self.cluster;
        let nats_needed = cluster.bus == Bus::Nats;
        let set = [
            ("cluster.scylla", !cluster.scylla.is_empty(), true),
            ("cluster.redis", cluster.redis.is_some(), true),
            ("cluster.nats", cluster.nats.is_some(), nats_needed),
        ];
        if set.iter().all(|(_, is_set, _)| !is_set) {
            return Ok(());
        }
        let missing: Vec<&str> =
            set.iter().filter(|(_, is_set, needed)| *needed && !is_set).map(|(key, ..)| *key).collect();
        if missing.is_empty() {
            return Ok(());
        }
        fail(format!(
            "a cluster needs all of its services: set {} too, or unset the others for the embedded store",
            missing.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
        ))
    }
}

fn secret(key: &str, value: Option<&Secret>) -> Result {
    match value {
        Some(secret) if secret.expose().len() < MIN_SECRET => fail(format!(
            "`{key}` has {} bytes, {MIN_SECRET} are the least that can't be guessed: `openssl rand -hex 32` makes a good one",
            secret.expose().len()
        )),
        _ => Ok(()),
    }
}

fn between(key: &str, value: u64, low: u64, high: u64) -> Result {
    if value < low {
        return fail(format!("`{key}` is {value}: the least is {low}"));
    }
    if value > high {
        return fail(format!("`{key}` is {value}: the most is {high}"));
    }
    Ok(())
}

fn rules(at: &str, rules: &ChannelRules) -> Result {
    let kept = rules.history_size > 0 && rules.history_ttl_s > 0;
    if (rules.history_size > 0) != (rules.history_ttl_s > 0) {
        return fail(format!("`{at}`: history needs both `history_size` and `history_ttl_s`"));
    }
    if rules.recovery != Recovery::None && !kept {
        return fail(format!("`{at}.recovery` needs history: set `history_size` and `history_ttl_s`"));
    }
    if (rules.force_recovery || rules.force_positioning) && !kept {
        return fail(format!(
            "`{at}`: forced recovery or positioning needs `history_size` and `history_ttl_s`"
        ));
    }
    if rules.force_push_join_leave && !rules.join_leave {
        return fail(format!("`{at}.force_push_join_leave` needs `join_leave = true`"));
    }
    if rules.allow_presence_for_subscriber && !rules.presence && !rules.join_leave {
        return fail(format!(
            "`{at}.allow_presence_for_subscriber` needs `presence = true` or `join_leave = true`"
        ));
    }
    if let Some(other) = rules.allowed_delta_types.iter().find(|kind| *kind != "fossil") {
        return fail(format!("`{at}.allowed_delta_types` has `{other}`: there is only `fossil`"));
    }
    between(&format!("{at}.history_size"), rules.history_size as u64, 0, 100_000)?;
    between(&format!("{at}.history_ttl_s"), rules.history_ttl_s, 0, 31_536_000)
}

/// A rate for one route: `POST /v1/posts = 30`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRate {
    /// The method.
    pub method: Method,
    /// The path as the API's description writes it, such as `/v1/posts/{id}`.
    pub path: String,
    /// Requests a minute of one user; 0 is off.
    pub per_minute: u32,
}

impl RouteRate {
    /// Reads one; the error says what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is not like `POST /v1/posts = 30`");
        let (route, rate) = text.rsplit_once('=').ok_or_else(wrong)?;
        let (method, path) = route.trim().split_once(' ').ok_or_else(wrong)?;
        let methods = HashSet::from(["GET", "POST", "PUT", "PATCH", "DELETE"]);
        if !methods.contains(method) || !path.trim().starts_with('/') {
            return Err(wrong());
        }
        Ok(Self {
            method: method.parse().map_err(|_| wrong())?,
            path: path.trim().to_owned(),
            per_minute: rate.trim().parse().map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_how_to_mend_it() {
        let env = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Config::load(None, pairs)
        };
        for (pairs, expected) in [
            (&[("FAMA_AUTH__HMAC_SECRET", "short")][..], "openssl rand"),
            (&[("FAMA_SERVER__ADMIN_LISTEN", "0.0.0.0:8001")], "set `server.admin_token`"),
            (&[("FAMA_SERVER__ADMIN_LISTEN", "127.0.0.1:8000")], "another port"),
            (&[("FAMA_SERVER__ALLOWED_ORIGINS", "https://a.example/")], "scheme and host"),
            (&[("FAMA_SERVER__ALLOWED_ORIGINS", "null")], "scheme and host"),
            (&[("FAMA_SERVER__TRUSTED_PROXIES", "10.0.0.0/64")], "10.0.0.0/8"),
            (&[("FAMA_AUTH__JWKS_URL", "http://keys.example/jwks")], "use https"),
            (&[("FAMA_AUTH__JWKS_URL", "file:///etc/passwd")], "use https"),
            (&[("FAMA_AUTH__API_KEYS", "backend:123")], "`auth.api_keys`"),
            (&[("FAMA_FANOUT__CELEBRITY_UP", "100")], "60 would do"),
            (&[("FAMA_LIMITS__ROUTES", "POST posts=3")], "POST /v1/posts = 30"),
            (&[("FAMA_GRAPH__FOLLOW_CAP", "100000")], "the most is 10000"),
            (&[("FAMA_CLUSTER__REDIS", "redis://x")], "set `cluster.scylla` and `cluster.nats` too"),
            (&[("FAMA_CHANNELS__RECOVERY", "stream")], "needs history"),
            (&[("FAMA_SERVER__ROLES", ",")], "`server.roles` is empty"),
        ] {
            let message = env(pairs).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}\n  should contain\n{expected}");
        }
        assert!(env(&[("FAMA_AUTH__JWKS_URL", "http://127.0.0.1:9/jwks")]).is_ok());
    }
}
