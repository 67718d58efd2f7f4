//! What every answer of the public listener has: a request id, CORS, security headers, and a line in the log.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State as Extract};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::State;
use super::caller::Caller;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Seconds for which browsers remember an answer to a preflight.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, x-request-id, traceparent, x-api-key, fama-user",
);
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "location, retry-after, x-request-id, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, idempotency-replayed",
);
/// For JSON: nothing may be loaded, and no page may frame it.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The middleware.
pub async fn edge(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers(), &state);
    let trace_id = trace_id(request.headers()).unwrap_or_else(|| random_hex(&state));
    let origin = request.headers().get(header::ORIGIN).cloned();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = if is_preflight(&request) {
        StatusCode::NO_CONTENT.into_response()
    } else if method == Method::TRACE {
        crate::error::ApiError::method_not_allowed().into_response()
    } else {
        next.run(request).await
    };
    let preflight = method == Method::OPTIONS && response.status() == StatusCode::NO_CONTENT;
    cors(response.headers_mut(), origin.as_ref(), preflight, &state);
    secure(response.headers_mut());
    response.headers_mut().insert(REQUEST_ID, request_id.clone());
    if state.health.is_draining() {
        // The next request goes to whoever stays.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let took = started.elapsed();
    let status = response.status();
    // The pattern of the route and not its path: ids are the app's own, and queries carry tickets.
    let route = route.as_deref().unwrap_or("(none)");
    state.metrics.request(&method, route, status, took);
    tracing::info!(
        target: "fama_server::access",
        %method,
        route,
        status = status.as_u16(),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        request_id = request_id.to_str().unwrap_or_default(),
        trace_id,
        caller = response.extensions().get::<Caller>().map(|caller| caller.name.as_str()),
        "request"
    );
    response
}

fn random_hex(state: &State) -> String {
    format!("{:016x}{:016x}", state.clock.random(), state.clock.random())
}

/// The caller's own id if it is harmless in logs, else a new one.
fn request_id(headers: &HeaderMap, state: &State) -> HeaderValue {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let given = headers
        .get(REQUEST_ID)
        .filter(|id| (1..=64).contains(&id.len()) && id.as_bytes().iter().copied().all(plain));
    given
        .cloned()
        .or_else(|| HeaderValue::from_str(&random_hex(state)).ok())
        .unwrap_or(HeaderValue::from_static("-"))
}

/// The trace that the caller is part of: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |text: &str| text.bytes().any(|b| b != b'0');
    let good =
        hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && set(trace) && set(span);
    good.then(|| trace.to_owned())
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Only listed origins are told that they may; `null` is nobody's origin and can't be listed.
fn cors(headers: &mut HeaderMap, origin: Option<&HeaderValue>, preflight: bool, state: &State) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin else { return };
    if !state.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
}

/// Pages set their own policy and caching; what has none is private data.
fn secure(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
