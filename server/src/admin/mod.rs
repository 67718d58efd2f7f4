//! What operators ask, on a listener of its own: metrics, draining, author modes, work set aside, revocations.

mod authors;
mod dlq;
mod revoke;

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State as Extract};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fama_fanout::{Clock, Feeds};
use fama_protocol::AppId;
use fama_storage::Stores;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::api::extract::Params;
use crate::auth::Refusal;
use crate::config::Secret;
use crate::error::ApiError;
use crate::health::Health;
use crate::revocation::Revocations;
use crate::telemetry::Metrics;

/// What operators' requests work with.
pub struct Inner {
    /// The truth.
    pub stores: Stores,
    /// Modes of authors.
    pub feeds: Feeds,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Whether this process works.
    pub health: Arc<Health>,
    /// How many sockets there are.
    pub connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// Revokes tokens.
    pub revocations: Arc<Revocations>,
    /// Begins to drain.
    pub drain: Box<dyn Fn() + Send + Sync>,
    /// Sets gauges before they are read.
    pub observe: Box<dyn Fn() + Send + Sync>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What operators send; none: whoever reaches the listener is one.
    pub token: Option<Secret>,
}

type State = Arc<Inner>;

/// The router of the admin listener.
pub fn router(inner: Inner) -> Router {
    let state = Arc::new(inner);
    Router::new()
        .route("/metrics", get(metrics))
        .route("/admin/drain", post(drain))
        .route("/admin/connections", get(connections))
        .route("/admin/authors/{id}", get(authors::get).put(authors::put))
        .route("/admin/dlq", get(dlq::list))
        .route("/admin/dlq/replay", post(dlq::replay))
        .route("/admin/revoke", post(revoke::post))
        .route("/health/live", get(|| async { StatusCode::OK }))
        .route("/health/ready", get(ready))
        .method_not_allowed_fallback(no_method)
        .fallback(no_route)
        .layer(from_fn_with_state(Arc::clone(&state), authorize))
        .with_state(state)
}

async fn no_route() -> ApiError {
    ApiError::not_found("there is nothing under this path")
}

async fn no_method() -> ApiError {
    ApiError::method_not_allowed()
}

/// The app a request is about; `default` unless it says otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppParams {
    #[serde(default)]
    app: AppId,
}

async fn authorize(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let is_probe = request.uri().path().starts_with("/health/");
    if let Some(token) = &state.token
        && !is_probe
        && !holds(&request, token)
    {
        let error = match request.headers().get(header::AUTHORIZATION) {
            None => ApiError::not_signed_in("send `server.admin_token` as `Authorization: Bearer …`"),
            Some(_) => ApiError::unauthorized(Refusal::Signature),
        };
        return error.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

/// Hashes are compared, so that not even the length can be guessed by time.
fn holds(request: &Request, token: &Secret) -> bool {
    let given =
        request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    let hash = |bytes: &[u8]| digest(&SHA256, bytes);
    verify_slices_are_equal(hash(given).as_ref(), hash(token.expose().as_bytes()).as_ref()).is_ok()
}

async fn metrics(Extract(state): Extract<State>) -> Response {
    (state.observe)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
        .into_response()
}

async fn ready(Extract(state): Extract<State>) -> StatusCode {
    if state.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The process becomes unready, asks its sockets to move, and ends.
async fn drain(Extract(state): Extract<State>) -> StatusCode {
    tracing::info!("an operator asked this process to drain");
    state.health.set_draining();
    (state.drain)();
    StatusCode::ACCEPTED
}

#[derive(Serialize)]
struct Connections {
    connections: usize,
    draining: bool,
}

async fn connections(Extract(state): Extract<State>, Params(_): Params<AppParams>) -> Json<Connections> {
    Json(Connections { connections: (state.connections)(), draining: state.health.is_draining() })
}
