//! `/admin/dlq`: work that failed for good and was set aside, and doing it again.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::AppId;
use fama_storage::{OutboxState, RowId, Task};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AppParams, State};
use crate::api::extract::{JsonBody, NoParams, Params};
use crate::error::{ApiError, ApiResult};

/// Rows of an answer.
const MOST: usize = 100;

#[derive(Serialize)]
pub(super) struct Row {
    id: RowId,
    task: Task,
    reason: String,
}

#[derive(Serialize)]
pub(super) struct Rows {
    data: Vec<Row>,
}

pub(super) async fn list(
    Extract(state): Extract<State>,
    Params(params): Params<AppParams>,
) -> ApiResult<Json<Rows>> {
    let rows = state.stores.outbox.quarantined(&params.app, MOST).await?;
    let row = |row: fama_storage::OutboxRow| {
        let reason = match row.state {
            OutboxState::Quarantined { reason } => reason,
            OutboxState::Queued { .. } => String::new(),
        };
        Row { id: row.task.row_id(), task: row.task, reason }
    };
    Ok(Json(Rows { data: rows.into_iter().map(row).collect() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    #[serde(default)]
    app: AppId,
    id: RowId,
}

/// Puts a row back among those that are owed. The sweeper hands it to a worker.
pub(super) async fn replay(
    Extract(state): Extract<State>,
    Params(NoParams {}): Params<NoParams>,
    body: JsonBody<Replay>,
) -> ApiResult<StatusCode> {
    let Replay { app, id } = body.value;
    match state.stores.outbox.replay(&app, &id, state.clock.now()).await? {
        Some(_) => Ok(StatusCode::ACCEPTED),
        None => Err(ApiError::not_found("there is no such row set aside")),
    }
}
