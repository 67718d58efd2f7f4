//! The demonstration's own routes. They give a token for any member to anybody, so they exist only in a process that
//! was started as a demonstration.

use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::routing::{get, post};
use axum::{Json, Router};
use fama_protocol::{AppId, UserId};
use fama_storage::Mode;
use serde::{Deserialize, Serialize};

use super::{Demo, Member};
use crate::api::State;
use crate::api::cursor::List;
use crate::api::extract::{JsonBody, Params};
use crate::api::page::{Page, default_limit, limit};
use crate::auth::Access;
use crate::auth::mint::{Grant, sign};
use crate::error::{ApiError, ApiResult};

/// Seconds for which a visitor's token is good; the page asks for another in time.
const TOKEN_S: u64 = 600;
/// Bytes of a request.
const MAX_BODY: usize = 4_096;

/// The routes.
pub fn router() -> Router<State> {
    Router::new()
        .route("/demo/config", get(config))
        .route("/demo/members", get(members))
        .route("/demo/token", post(token))
        .route("/demo/vitals", get(super::vitals::vitals))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

pub(super) fn demo(state: &State) -> ApiResult<&Demo> {
    state.demo.as_ref().ok_or(ApiError::not_found("this is not a demonstration"))
}

#[derive(Serialize)]
struct DemoConfig {
    members: usize,
    websocket: &'static str,
    celebrity_up: u64,
    post_every_ms: u64,
}

async fn config(Extract(state): Extract<State>) -> ApiResult<Json<DemoConfig>> {
    let demo = demo(&state)?;
    Ok(Json(DemoConfig {
        members: demo.members.len(),
        websocket: "/connection/websocket",
        celebrity_up: demo.celebrity_up,
        post_every_ms: demo.post_every_ms,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersParams {
    #[serde(default)]
    q: String,
    #[serde(default = "default_limit", deserialize_with = "limit")]
    limit: usize,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct MemberView {
    id: UserId,
    name: String,
    followers: u64,
    following: u64,
    delivery: &'static str,
}

async fn members(
    Extract(state): Extract<State>,
    Params(params): Params<MembersParams>,
) -> ApiResult<Json<Page<MemberView>>> {
    let (demo, app) = (demo(&state)?, AppId::default());
    let reader = UserId::new("visitor").map_err(|error| ApiError::internal(&error))?;
    let list = List { app: &app, reader: &reader, name: format!("members/{}", params.q.escape_debug()) };
    let start = match &params.cursor {
        Some(cursor) => position(&state.cursors.open(&list, cursor)?)?,
        None => 0,
    };
    let wanted = params.q.to_lowercase();
    let found = demo.members.iter().enumerate().skip(start);
    let found = found.filter(|(_, member)| member.haystack.contains(&wanted)).take(params.limit + 1);
    let page = Page::cut(found.collect(), params.limit, |(index, _)| {
        state.cursors.sign(&list, &(*index as u64 + 1).to_be_bytes())
    });
    let Page { data, next_cursor, has_more } = page;
    let mut views = Vec::with_capacity(data.len());
    for (_, member) in data {
        views.push(view(&state, &app, member).await?);
    }
    Ok(Json(Page { data: views, next_cursor, has_more }))
}

fn position(bytes: &[u8]) -> ApiResult<usize> {
    let position =
        bytes.try_into().ok().map(u64::from_be_bytes).and_then(|number| usize::try_from(number).ok());
    position.ok_or(ApiError::bad_request("the cursor is not one of this list"))
}

async fn view(state: &State, app: &AppId, member: &Member) -> ApiResult<MemberView> {
    let counts = state.stores.graph.counts(app, &member.id).await?;
    let delivery = match state.feeds.modes.mode(app, &member.id).await? {
        Mode::Pull => "pull",
        Mode::Push | Mode::Draining => "push",
    };
    Ok(MemberView {
        id: member.id.clone(),
        name: member.name.clone(),
        followers: counts.followers,
        following: counts.following,
        delivery,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    user: UserId,
}

#[derive(Serialize)]
struct TokenView {
    token: String,
    expires_in: u64,
}

async fn token(Extract(state): Extract<State>, body: JsonBody<TokenBody>) -> ApiResult<Json<TokenView>> {
    let (demo, app, user) = (demo(&state)?, AppId::default(), body.value.user);
    if !demo.members.iter().any(|member| member.id == user) {
        return Err(ApiError::not_found("there is no such member"));
    }
    demo.guests.came(&user);
    let grant =
        Grant { app: &app, user: &user, access: Access::User, ttl_s: TOKEN_S, issuer: None, audience: None };
    let token = sign(&grant, demo.secret.expose().as_bytes(), state.clock.now())
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Json(TokenView { token, expires_in: TOKEN_S }))
}
