//! `/admin/authors/{id}`: how an author's posts are delivered, and pinning it.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::{AppId, UnixMs, UserId};
use fama_storage::Mode;
use serde::{Deserialize, Serialize};

use super::{AppParams, State};
use crate::api::extract::{JsonBody, Params, UserPath};
use crate::error::{ApiError, ApiResult};

#[derive(Serialize)]
pub(super) struct AuthorView {
    id: UserId,
    mode: Mode,
    pinned: bool,
    since: Option<UnixMs>,
    version: u64,
    followers: u64,
    posts: u64,
}

/// `push` and `pull` pin the author; `auto` lets the follower count decide.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Push,
    Pull,
    Auto,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutAuthor {
    mode: Wanted,
}

pub(super) async fn get(
    Extract(state): Extract<State>,
    UserPath(id): UserPath,
    Params(params): Params<AppParams>,
) -> ApiResult<Json<AuthorView>> {
    view(&state, &params.app, id).await.map(Json)
}

pub(super) async fn put(
    Extract(state): Extract<State>,
    UserPath(id): UserPath,
    Params(params): Params<AppParams>,
    body: JsonBody<PutAuthor>,
) -> ApiResult<Json<AuthorView>> {
    let (modes, app) = (&state.feeds.modes, &params.app);
    let done = match body.value.mode {
        Wanted::Push => modes.pin(app, &id, Mode::Push).await?.is_some(),
        Wanted::Pull => modes.pin(app, &id, Mode::Pull).await?.is_some(),
        Wanted::Auto => {
            let unpinned = modes.unpin(app, &id).await?;
            if unpinned {
                modes.check(app, &id).await?;
            }
            unpinned
        }
    };
    if !done {
        return Err(ApiError::conflict("the mode was changed by somebody else at the same time: look again"));
    }
    view(&state, app, id).await.map(Json)
}

async fn view(state: &State, app: &AppId, id: UserId) -> ApiResult<AuthorView> {
    let record = state.feeds.modes.record(app, &id).await?;
    let counts = state.stores.graph.counts(app, &id).await?;
    Ok(AuthorView {
        id,
        mode: record.as_ref().map_or(Mode::Push, |record| record.mode),
        pinned: record.as_ref().is_some_and(|record| record.pinned),
        since: record.as_ref().map(|record| record.since),
        version: record.as_ref().map_or(0, |record| record.version),
        followers: counts.followers,
        posts: counts.posts,
    })
}
