//! Posts: publish, read, edit, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extract;
use axum::response::Response;
use fama_fanout::view::post_view;
use fama_protocol::event::PostView;
use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Post, PostChange, RequestKey, StoredResponse};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::State;
use super::caller::{Actor, Caller};
use super::extract::{JsonBody, NoParams, Params, PostPath};
use super::idempotency::{Begin, IdempotencyKey, begin, give_up, json, replay};
use super::page::MAX_LIMIT;
use super::post_body::{Draft, EditPost, NewPost, check_left};
use super::schema;
use crate::auth::Access;
use crate::error::{ApiError, ApiResult};

const ROUTE: &str = "POST /v1/posts";
const NO_POST: &str = "there is no such post";

/// Publishes a post.
#[utoipa::path(post, path = "/v1/posts", tag = "posts", request_body = NewPost, params(
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key and body within 24 hours publish once"),
), responses(
    (status = 201, description = "Published; it is durable", body = schema::Post, headers(("Location" = String))),
    (status = 409, description = "The first request with this key is still running", body = schema::Error),
    (status = 413, description = "More than 64 KiB", body = schema::Error),
    (status = 415, description = "Not JSON", body = schema::Error),
    (status = 422, description = "Out of range, or the key was used with another body", body = schema::Error),
))]
pub async fn create(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewPost>,
) -> ApiResult<Response> {
    let draft = body.value.check()?;
    check_references(&state, &actor, &draft).await?;
    let id = state.minter.mint(&actor.app, &actor.user).await?;
    let key = match begin(&state, &actor, ROUTE, key, &body.bytes, id).await? {
        Begin::Do(key) => key,
        Begin::Replay(stored) => return Ok(replay_created(stored)),
        Begin::Finish(key, done) => {
            let post = fetch(&state, &actor, done).await?.ok_or(ApiError::not_found(NO_POST))?;
            let response = stored_view(&post)?;
            state.stores.idempotency.complete(&actor.app, &key, &response, state.clock.now()).await?;
            return Ok(replay_created(response));
        }
    };
    match publish(&state, &actor, draft, id, key.as_ref()).await {
        Ok(response) => Ok(created(response, id)),
        Err(error) => Err(give_up(&state, &actor, key.as_ref(), id, error).await),
    }
}

/// What is answered or passed on must be there for its author.
async fn check_references(state: &State, actor: &Actor, draft: &Draft) -> ApiResult<()> {
    let references = [("reply_to", draft.reply_to), ("repost_of", draft.repost_of)];
    for (field, id) in references {
        if let Some(id) = id
            && visible(state, &actor.app, Some(&actor.user), &[id]).await?.is_empty()
        {
            return Err(ApiError::invalid(field, NO_POST));
        }
    }
    Ok(())
}

async fn publish(
    state: &State,
    actor: &Actor,
    draft: Draft,
    id: PostId,
    key: Option<&RequestKey>,
) -> ApiResult<StoredResponse> {
    let delivery = state.feeds.writer.delivery_for(&actor.app, &actor.user).await?;
    let post = draft.publish(id, actor.user.clone(), delivery, state.clock.now());
    let response = stored_view(&post)?;
    state.feeds.writer.publish(&actor.app, &post, key.map(|key| (key, &response))).await?;
    state.metrics.published(delivery);
    Ok(response)
}

async fn fetch(state: &State, actor: &Actor, id: PostId) -> ApiResult<Option<Post>> {
    Ok(state.stores.posts.get_many(&actor.app, &[id]).await?.pop().flatten())
}

/// A new post as its author sees it: without reactions yet.
fn stored_view(post: &Post) -> ApiResult<StoredResponse> {
    let body =
        serde_json::to_string(&post_view(post, None, true)).map_err(|error| ApiError::internal(&error))?;
    Ok(StoredResponse { status: StatusCode::CREATED.as_u16(), body })
}

fn created(response: StoredResponse, id: PostId) -> Response {
    with_location(json(StatusCode::CREATED, response.body), &id.to_string())
}

fn replay_created(stored: StoredResponse) -> Response {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    let id = serde_json::from_str::<Id>(&stored.body).map(|id| id.id);
    let response = replay(stored);
    match id {
        Ok(id) => with_location(response, &id),
        Err(_) => response,
    }
}

fn with_location(mut response: Response, id: &str) -> Response {
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/posts/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The posts that a reader may see, in the order asked.
pub async fn visible(
    state: &State,
    app: &AppId,
    reader: Option<&UserId>,
    ids: &[PostId],
) -> ApiResult<Vec<Arc<Post>>> {
    Ok(state.feeds.reader.posts(app, reader, ids).await?.into_iter().flatten().collect())
}

/// Posts with reactions, as a reader sees them.
pub async fn views(
    state: &State,
    app: &AppId,
    reader: Option<&UserId>,
    posts: &[Arc<Post>],
) -> ApiResult<Vec<PostView>> {
    let ids: Vec<PostId> = posts.iter().map(|post| post.id).collect();
    let summaries = state.stores.reactions.summaries(app, &ids, reader).await?;
    let with_summary = posts.iter().zip(&summaries);
    Ok(with_summary.map(|(post, summary)| post_view(post, Some(summary), true)).collect())
}

/// One post that a reader may see, or 404.
pub async fn one_visible(
    state: &State,
    app: &AppId,
    reader: Option<&UserId>,
    id: PostId,
) -> ApiResult<Arc<Post>> {
    visible(state, app, reader, &[id]).await?.pop().ok_or(ApiError::not_found(NO_POST))
}

async fn one_view(state: &State, caller: &Caller, post: Arc<Post>) -> ApiResult<Json<PostView>> {
    let mut views = views(state, &caller.app, caller.user.as_ref(), &[post]).await?;
    views.pop().map(Json).ok_or(ApiError::not_found(NO_POST))
}

/// One post.
#[utoipa::path(get, path = "/v1/posts/{id}", tag = "posts", params(("id" = String, Path)), responses(
    (status = 200, body = schema::Post),
    (status = 404, description = "Unknown, deleted, or not for the reader", body = schema::Error),
))]
pub async fn get(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    PostPath(id): PostPath,
) -> ApiResult<Json<PostView>> {
    let post = one_visible(&state, &caller.app, caller.user.as_ref(), id).await?;
    one_view(&state, &caller, post).await
}

/// Ids of posts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IdsParams {
    /// At most 100, comma-separated.
    ids: String,
}

/// Posts by id.
#[derive(Serialize)]
pub struct PostList {
    data: Vec<PostView>,
}

/// Several posts; what is unknown or not for the reader is left out.
#[utoipa::path(get, path = "/v1/posts", tag = "posts", params(IdsParams), responses(
    (status = 200, body = schema::PostList),
))]
pub async fn get_many(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(params): Params<IdsParams>,
) -> ApiResult<Json<PostList>> {
    if params.ids.split(',').count() > MAX_LIMIT {
        return Err(ApiError::bad_request("at most 100 ids at once"));
    }
    let mut ids = Vec::new();
    for text in params.ids.split(',') {
        let id = text.parse().map_err(|error| ApiError::bad_request(format!("`{text:.32}`: {error}")))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let reader = caller.user.as_ref();
    let posts = visible(&state, &caller.app, reader, &ids).await?;
    Ok(Json(PostList { data: views(&state, &caller.app, reader, &posts).await? }))
}

/// Edits a post.
#[utoipa::path(patch, path = "/v1/posts/{id}", tag = "posts", params(("id" = String, Path)), request_body = EditPost, responses(
    (status = 200, description = "As it is now", body = schema::Post),
    (status = 403, description = "Somebody else's", body = schema::Error),
    (status = 404, body = schema::Error),
    (status = 413, body = schema::Error),
    (status = 415, body = schema::Error),
    (status = 422, body = schema::Error),
))]
pub async fn edit(
    Extract(state): Extract<State>,
    caller: Caller,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    PostPath(id): PostPath,
    body: JsonBody<EditPost>,
) -> ApiResult<Json<PostView>> {
    let patch = body.value.check()?;
    let post = one_visible(&state, &actor.app, Some(&actor.user), id).await?;
    if post.author != actor.user {
        return Err(ApiError::forbidden("only its author edits a post"));
    }
    check_left(&post, &patch)?;
    match state.feeds.writer.edit(&actor.app, &actor.user, id, &patch).await? {
        PostChange::Changed(post, _) => one_view(&state, &caller, Arc::new(*post)).await,
        PostChange::Unchanged | PostChange::NotFound => Err(ApiError::not_found(NO_POST)),
    }
}

/// Deletes a post.
#[utoipa::path(delete, path = "/v1/posts/{id}", tag = "posts", params(("id" = String, Path)), responses(
    (status = 204, description = "Deleted, now or before"),
    (status = 403, description = "Somebody else's", body = schema::Error),
    (status = 404, body = schema::Error),
))]
pub async fn delete(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    PostPath(id): PostPath,
) -> ApiResult<StatusCode> {
    let author = match (&caller.user, caller.access) {
        (_, Access::Admin) => None,
        (Some(user), _) => Some(user),
        (None, _) => {
            return Err(ApiError::bad_request("a service acts here for a user: send its id as `Fama-User`"));
        }
    };
    match state.feeds.writer.delete(&caller.app, author, id).await? {
        PostChange::Changed(..) | PostChange::Unchanged => Ok(StatusCode::NO_CONTENT),
        PostChange::NotFound => {
            one_visible(&state, &caller.app, author, id).await?;
            Err(ApiError::forbidden("only its author deletes a post"))
        }
    }
}
