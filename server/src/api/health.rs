//! What load balancers and people ask: `/health`, `/health/live`, `/health/ready`.

use axum::Json;
use axum::extract::State as Extract;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::State;
use crate::health::{PartHealth, Report};

/// How everything is.
#[utoipa::path(get, path = "/health", tag = "operations", security(()), responses(
    (status = 200, description = "Works, perhaps in part", body = Report),
    (status = 503, description = "Does not work", body = Report),
))]
pub async fn health(Extract(state): Extract<State>) -> Response {
    let report = state.health.report(state.connections());
    let status =
        if report.status == PartHealth::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(report)).into_response()
}

/// Whether the process runs: says nothing of what it depends on, because restarting it would not mend that.
#[utoipa::path(get, path = "/health/live", tag = "operations", security(()), responses((status = 200)))]
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether new work may be sent here.
#[utoipa::path(get, path = "/health/ready", tag = "operations", security(()), responses(
    (status = 200),
    (status = 503, description = "Starting, on the way out, or without memory for more"),
))]
pub async fn ready(Extract(state): Extract<State>) -> StatusCode {
    if state.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
