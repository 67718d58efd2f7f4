//! The follow graph.

use axum::Json;
use axum::extract::State as Extract;
use axum::response::Response;
use fama_protocol::{UnixMs, UserId};
use fama_storage::{FollowOutcome, Follower, StoredResponse};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::caller::{Actor, Caller};
use super::cursor::List;
use super::extract::{JsonBody, NoParams, Params, UserPath};
use super::idempotency::{Begin, IdempotencyKey, begin, give_up, json, replay};
use super::page::{Page, PageParams};
use super::schema;
use crate::error::{ApiError, ApiResult};

const ROUTE: &str = "POST /v1/following";
/// Authors followed at once.
const MAX_AUTHORS: usize = 1_000;

/// A user of a list.
#[derive(Serialize, ToSchema)]
pub struct UserSince {
    /// The user.
    #[schema(value_type = String)]
    pub user: UserId,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: UnixMs,
}

impl From<Follower> for UserSince {
    fn from(row: Follower) -> Self {
        Self { user: row.user, since: row.since }
    }
}

/// Follows an author.
#[utoipa::path(put, path = "/v1/following/{author}", tag = "graph", params(("author" = String, Path)), responses(
    (status = 204, description = "Followed, now or before"),
    (status = 403, description = "One of the two blocks the other", body = schema::Error),
    (status = 422, description = "Oneself, or more than `graph.follow_cap`", body = schema::Error),
))]
pub async fn follow(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    UserPath(author): UserPath,
) -> ApiResult<StatusCode> {
    follow_all(&state, &actor, &[author], "author").await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn follow_all(
    state: &State,
    actor: &Actor,
    authors: &[UserId],
    field: &'static str,
) -> ApiResult<usize> {
    if authors.contains(&actor.user) {
        return Err(ApiError::invalid(
            field,
            "nobody follows oneself: one's own posts are in one's feed anyway",
        ));
    }
    match state.feeds.writer.follow(&actor.app, &actor.user, authors).await? {
        FollowOutcome::Followed(rows) => {
            for author in authors {
                state.presence.relation_changed(&actor.app, &actor.user, author).await;
            }
            Ok(rows.len())
        }
        FollowOutcome::OverCap { following } => Err(ApiError::invalid(
            field,
            format!("{following} are followed, {} are the most", state.follow_cap),
        )),
        FollowOutcome::Blocked(author) => {
            Err(ApiError::forbidden(format!("`{author}` can't be followed: one of the two blocks the other")))
        }
    }
}

/// Authors to follow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowMany {
    /// At most 1,000.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000)]
    authors: Vec<UserId>,
}

/// What following many did.
#[derive(Serialize, ToSchema)]
pub struct FollowedMany {
    /// How many are followed now that were not before.
    followed: usize,
}

/// Follows many authors: all or none.
#[utoipa::path(post, path = "/v1/following", tag = "graph", request_body = FollowMany, params(
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters"),
), responses(
    (status = 200, body = FollowedMany),
    (status = 403, description = "One of them and the caller block each other", body = schema::Error),
    (status = 409, description = "The first request with this key is still running", body = schema::Error),
    (status = 413, body = schema::Error),
    (status = 415, body = schema::Error),
    (status = 422, description = "Out of range, or the key was used with another body", body = schema::Error),
))]
pub async fn follow_many(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<FollowMany>,
) -> ApiResult<Response> {
    let mut authors = body.value.authors;
    authors.sort_unstable();
    authors.dedup();
    if authors.is_empty() || authors.len() > MAX_AUTHORS {
        return Err(ApiError::invalid("authors", format!("has {} users: 1 to {MAX_AUTHORS}", authors.len())));
    }
    // The claim's own name; following may run twice, and then follows nobody new.
    let id = state.minter.mint(&actor.app, &actor.user).await?;
    let key = match begin(&state, &actor, ROUTE, key, &body.bytes, id).await? {
        Begin::Do(key) => key,
        Begin::Finish(key, _) => Some(key),
        Begin::Replay(stored) => return Ok(replay(stored)),
    };
    let followed = match follow_all(&state, &actor, &authors, "authors").await {
        Ok(followed) => followed,
        Err(error) => return Err(give_up(&state, &actor, key.as_ref(), id, error).await),
    };
    let body =
        serde_json::to_string(&FollowedMany { followed }).map_err(|error| ApiError::internal(&error))?;
    if let Some(key) = key {
        let response = StoredResponse { status: StatusCode::OK.as_u16(), body: body.clone() };
        state.stores.idempotency.complete(&actor.app, &key, &response, state.clock.now()).await?;
    }
    Ok(json(StatusCode::OK, body))
}

/// How to stop following.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnfollowParams {
    /// Whether the author's posts up to now stay in the feed.
    #[serde(default)]
    keep_history: bool,
}

/// Stops following an author.
#[utoipa::path(delete, path = "/v1/following/{author}", tag = "graph",
    params(("author" = String, Path), UnfollowParams),
    responses((status = 204, description = "Not followed, now or before"))
)]
pub async fn unfollow(
    Extract(state): Extract<State>,
    actor: Actor,
    UserPath(author): UserPath,
    Params(params): Params<UnfollowParams>,
) -> ApiResult<StatusCode> {
    state.feeds.writer.unfollow(&actor.app, &actor.user, &author, params.keep_history).await?;
    state.presence.relation_changed(&actor.app, &actor.user, &author).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Which way a list goes.
#[derive(Clone, Copy)]
enum Direction {
    Following,
    Followers,
}

impl Direction {
    async fn page(
        self,
        state: &State,
        caller: &Caller,
        user: &UserId,
        params: &PageParams,
    ) -> ApiResult<Json<Page<UserSince>>> {
        let name = match self {
            Self::Following => "following",
            Self::Followers => "followers",
        };
        let list = List { app: &caller.app, reader: caller.reader(), name: format!("{name}/{user}") };
        let after = state.cursors.open_user(&list, params.cursor.as_deref())?;
        let (graph, limit) = (&state.stores.graph, params.limit + 1);
        let rows = match self {
            Self::Following => graph.following(&caller.app, user, after.as_ref(), limit).await?,
            Self::Followers => graph.followers(&caller.app, user, after.as_ref(), limit).await?,
        };
        let page =
            Page::cut(rows, params.limit, |last| state.cursors.sign(&list, last.user.as_str().as_bytes()));
        Ok(Json(page.map(UserSince::from)))
    }
}

/// Whom the caller follows, in the order of ids.
#[utoipa::path(get, path = "/v1/following", tag = "graph", params(PageParams), responses(
    (status = 200, body = Page<UserSince>),
))]
pub async fn own_following(
    Extract(state): Extract<State>,
    caller: Caller,
    actor: Actor,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<UserSince>>> {
    Direction::Following.page(&state, &caller, &actor.user, &params).await
}

/// Who follows the caller, in the order of ids.
#[utoipa::path(get, path = "/v1/followers", tag = "graph", params(PageParams), responses(
    (status = 200, body = Page<UserSince>),
))]
pub async fn own_followers(
    Extract(state): Extract<State>,
    caller: Caller,
    actor: Actor,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<UserSince>>> {
    Direction::Followers.page(&state, &caller, &actor.user, &params).await
}

/// Whom a user follows, in the order of ids.
#[utoipa::path(get, path = "/v1/users/{id}/following", tag = "graph", params(("id" = String, Path), PageParams),
    responses((status = 200, body = Page<UserSince>))
)]
pub async fn following_of(
    Extract(state): Extract<State>,
    caller: Caller,
    UserPath(user): UserPath,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<UserSince>>> {
    Direction::Following.page(&state, &caller, &user, &params).await
}

/// Who follows a user, in the order of ids.
#[utoipa::path(get, path = "/v1/users/{id}/followers", tag = "graph", params(("id" = String, Path), PageParams),
    responses((status = 200, body = Page<UserSince>))
)]
pub async fn followers_of(
    Extract(state): Extract<State>,
    caller: Caller,
    UserPath(user): UserPath,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<UserSince>>> {
    Direction::Followers.page(&state, &caller, &user, &params).await
}
