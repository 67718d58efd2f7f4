//! Reactions to posts.

use axum::Json;
use axum::extract::State as Extract;
use fama_fanout::FanoutError;
use fama_protocol::{UnixMs, UserId};
use fama_storage::{ErrorKind, Reaction};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::caller::{Actor, Caller};
use super::cursor::List;
use super::extract::{NoParams, Params, PostPath, ReactionPath};
use super::page::{Page, PageParams};
use super::posts::one_visible;
use super::schema;
use crate::error::{ApiError, ApiResult};

/// A reaction.
#[derive(Serialize, ToSchema)]
pub struct ReactionView {
    /// Who reacted.
    #[schema(value_type = String)]
    user: UserId,
    /// `like` and so on.
    kind: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: UnixMs,
}

impl From<Reaction> for ReactionView {
    fn from(reaction: Reaction) -> Self {
        Self { user: reaction.user, kind: reaction.kind, created_at: reaction.created_at }
    }
}

/// Reacts to a post.
#[utoipa::path(put, path = "/v1/posts/{id}/reactions/{kind}", tag = "posts",
    params(("id" = String, Path), ("kind" = String, Path, description = "1 to 32 characters of a-z 0-9 _ -")),
    responses(
        (status = 204, description = "There, now or before"),
        (status = 404, body = schema::Error),
        (status = 422, description = "A post has at most 32 kinds", body = schema::Error),
    )
)]
pub async fn put(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    path: ReactionPath,
) -> ApiResult<StatusCode> {
    react(&state, &actor, &path, true).await
}

/// Takes a reaction back.
#[utoipa::path(delete, path = "/v1/posts/{id}/reactions/{kind}", tag = "posts",
    params(("id" = String, Path), ("kind" = String, Path)),
    responses((status = 204, description = "Gone, now or before"), (status = 404, body = schema::Error))
)]
pub async fn delete(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    path: ReactionPath,
) -> ApiResult<StatusCode> {
    react(&state, &actor, &path, false).await
}

async fn react(state: &State, actor: &Actor, path: &ReactionPath, active: bool) -> ApiResult<StatusCode> {
    one_visible(state, &actor.app, Some(&actor.user), path.post).await?;
    let done = state.feeds.writer.react(&actor.app, path.post, &actor.user, &path.kind, active).await;
    match done {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(FanoutError::Storage(error)) if error.kind() == ErrorKind::Invalid => {
            Err(ApiError::invalid("kind", "a post has at most 32 kinds of reactions"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Reactions to a post, in the order of users.
#[utoipa::path(get, path = "/v1/posts/{id}/reactions", tag = "posts", params(("id" = String, Path), PageParams), responses(
    (status = 200, body = Page<ReactionView>),
    (status = 404, body = schema::Error),
))]
pub async fn list(
    Extract(state): Extract<State>,
    caller: Caller,
    PostPath(id): PostPath,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<ReactionView>>> {
    one_visible(&state, &caller.app, caller.user.as_ref(), id).await?;
    let list = List { app: &caller.app, reader: caller.reader(), name: format!("reactions/{id}") };
    let after = match &params.cursor {
        Some(cursor) => Some(position(&state.cursors.open(&list, cursor)?)?),
        None => None,
    };
    let after = after.as_ref().map(|(user, kind)| (user, kind.as_str()));
    let reactions = state.stores.reactions.reactions(&caller.app, id, after, params.limit + 1).await?;
    let page = Page::cut(reactions, params.limit, |last| {
        state.cursors.sign(&list, format!("{}/{}", last.user, last.kind).as_bytes())
    });
    Ok(Json(page.map(ReactionView::from)))
}

/// `user/kind`; neither has a slash in it.
fn position(bytes: &[u8]) -> ApiResult<(UserId, String)> {
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('/'));
    text.and_then(|(user, kind)| Some((UserId::new(user).ok()?, kind.to_owned())))
        .ok_or(ApiError::bad_request("the cursor is not one of this list"))
}
