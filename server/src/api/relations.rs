//! Blocks and mutes.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::UserId;
use fama_storage::{Relation, RelationRow};
use http::StatusCode;

use super::State;
use super::caller::{Actor, Caller};
use super::cursor::List;
use super::extract::{NoParams, Params, UserPath};
use super::following::UserSince;
use super::page::{Page, PageParams};
use super::schema;
use crate::error::{ApiError, ApiResult};

impl From<RelationRow> for UserSince {
    fn from(row: RelationRow) -> Self {
        Self { user: row.user, since: row.since }
    }
}

async fn relate(
    state: &State,
    actor: &Actor,
    relation: Relation,
    target: &UserId,
    active: bool,
) -> ApiResult<StatusCode> {
    if *target == actor.user {
        return Err(ApiError::invalid("user", "nobody blocks or mutes oneself"));
    }
    match state.feeds.writer.relate(&actor.app, &actor.user, relation, target, active).await? {
        Some(()) => {
            state.presence.relation_changed(&actor.app, &actor.user, target).await;
            Ok(StatusCode::NO_CONTENT)
        }
        None => Err(ApiError::invalid("user", format!("{} are the most", state.relation_cap))),
    }
}

async fn page(
    state: &State,
    caller: &Caller,
    actor: &Actor,
    relation: Relation,
    params: &PageParams,
) -> ApiResult<Json<Page<UserSince>>> {
    let name = match relation {
        Relation::Block => "blocks",
        Relation::Mute => "mutes",
    };
    let list = List { app: &caller.app, reader: caller.reader(), name: name.to_owned() };
    let after = state.cursors.open_user(&list, params.cursor.as_deref())?;
    let limit = params.limit + 1;
    let rows = state.stores.graph.related(&actor.app, &actor.user, relation, after.as_ref(), limit).await?;
    let page = Page::cut(rows, params.limit, |last| state.cursors.sign(&list, last.user.as_str().as_bytes()));
    Ok(Json(page.map(UserSince::from)))
}

/// Blocks a user: follows end both ways, and neither sees the other's posts.
#[utoipa::path(put, path = "/v1/blocks/{user}", tag = "graph", params(("user" = String, Path)), responses(
    (status = 204, description = "Blocked, now or before"),
    (status = 422, body = schema::Error),
))]
pub async fn block(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    UserPath(user): UserPath,
) -> ApiResult<StatusCode> {
    relate(&state, &actor, Relation::Block, &user, true).await
}

/// Lifts a block. Follows do not come back.
#[utoipa::path(delete, path = "/v1/blocks/{user}", tag = "graph", params(("user" = String, Path)), responses(
    (status = 204, description = "Not blocked, now or before"),
    (status = 422, body = schema::Error),
))]
pub async fn unblock(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    UserPath(user): UserPath,
) -> ApiResult<StatusCode> {
    relate(&state, &actor, Relation::Block, &user, false).await
}

/// Whom the caller blocks, in the order of ids.
#[utoipa::path(get, path = "/v1/blocks", tag = "graph", params(PageParams), responses(
    (status = 200, body = Page<UserSince>),
))]
pub async fn blocks(
    Extract(state): Extract<State>,
    caller: Caller,
    actor: Actor,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<UserSince>>> {
    page(&state, &caller, &actor, Relation::Block, &params).await
}

/// Mutes a user: the caller's feed is without their posts.
#[utoipa::path(put, path = "/v1/mutes/{user}", tag = "graph", params(("user" = String, Path)), responses(
    (status = 204, description = "Muted, now or before"),
    (status = 422, body = schema::Error),
))]
pub async fn mute(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    UserPath(user): UserPath,
) -> ApiResult<StatusCode> {
    relate(&state, &actor, Relation::Mute, &user, true).await
}

/// Lifts a mute.
#[utoipa::path(delete, path = "/v1/mutes/{user}", tag = "graph", params(("user" = String, Path)), responses(
    (status = 204, description = "Not muted, now or before"),
    (status = 422, body = schema::Error),
))]
pub async fn unmute(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    UserPath(user): UserPath,
) -> ApiResult<StatusCode> {
    relate(&state, &actor, Relation::Mute, &user, false).await
}

/// Whom the caller mutes, in the order of ids.
#[utoipa::path(get, path = "/v1/mutes", tag = "graph", params(PageParams), responses(
    (status = 200, body = Page<UserSince>),
))]
pub async fn mutes(
    Extract(state): Extract<State>,
    caller: Caller,
    actor: Actor,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<UserSince>>> {
    page(&state, &caller, &actor, Relation::Mute, &params).await
}
