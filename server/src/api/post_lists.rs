//! Lists of posts: replies to one, and those of one author.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::event::PostView;
use fama_protocol::{AppId, PostId, UserId};
use fama_storage::Post;

use super::State;
use super::caller::Caller;
use super::cursor::List;
use super::extract::{Params, PostPath, UserPath};
use super::page::{Page, PageParams};
use super::posts::{one_visible, views, visible};
use super::schema;
use crate::error::ApiResult;

/// Reads for one page: what is deleted or hidden is skipped, but not without end.
const ROUNDS: usize = 5;
/// Ids read at once.
const CHUNK: usize = 100;

/// What a page is filled from.
enum Source {
    Replies(PostId),
    Author(UserId),
}

impl Source {
    /// Ids below `before`, newest first, and whether there are more.
    async fn read(
        &self,
        state: &State,
        app: &AppId,
        before: Option<PostId>,
    ) -> ApiResult<(Vec<PostId>, bool)> {
        match self {
            Self::Replies(post) => {
                let ids = state.stores.posts.replies(app, *post, before, CHUNK).await?;
                let more = ids.len() == CHUNK;
                Ok((ids, more))
            }
            Self::Author(author) => {
                let page = state.stores.posts.by_author(app, author, before, CHUNK, false).await?;
                Ok((page.posts.into_iter().map(|post| post.id).collect(), page.more))
            }
        }
    }

    /// Fills a page with what the reader may see. The second value is where the next page begins.
    async fn fill(
        &self,
        state: &State,
        caller: &Caller,
        mut before: Option<PostId>,
        limit: usize,
    ) -> ApiResult<(Vec<Arc<Post>>, Option<PostId>)> {
        let mut found: Vec<Arc<Post>> = Vec::new();
        for _ in 0..ROUNDS {
            let (ids, more) = self.read(state, &caller.app, before).await?;
            let posts = visible(state, &caller.app, caller.user.as_ref(), &ids).await?;
            let room = limit - found.len();
            if posts.len() > room {
                found.extend(posts.into_iter().take(room));
                let last = found.last().map(|post| post.id);
                return Ok((found, last));
            }
            found.extend(posts);
            before = ids.last().copied();
            if !more {
                return Ok((found, None));
            }
            if found.len() == limit {
                break;
            }
        }
        Ok((found, before))
    }

    async fn page(
        &self,
        state: &State,
        caller: &Caller,
        params: &PageParams,
        name: String,
    ) -> ApiResult<Json<Page<PostView>>> {
        let list = List { app: &caller.app, reader: caller.reader(), name };
        let before = state.cursors.open_post(&list, params.cursor.as_deref())?;
        let (posts, next) = self.fill(state, caller, before, params.limit).await?;
        let data = views(state, &caller.app, caller.user.as_ref(), &posts).await?;
        let next_cursor = next.map(|id| state.cursors.sign(&list, &id.to_be_bytes()));
        Ok(Json(Page { data, has_more: next_cursor.is_some(), next_cursor }))
    }
}

/// Replies to a post, newest first.
#[utoipa::path(get, path = "/v1/posts/{id}/replies", tag = "posts", params(("id" = String, Path), PageParams), responses(
    (status = 200, body = schema::PostPage),
    (status = 404, body = schema::Error),
))]
pub async fn replies(
    Extract(state): Extract<State>,
    caller: Caller,
    PostPath(id): PostPath,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<PostView>>> {
    one_visible(&state, &caller.app, caller.user.as_ref(), id).await?;
    Source::Replies(id).page(&state, &caller, &params, format!("replies/{id}")).await
}

/// An author's posts, newest first.
#[utoipa::path(get, path = "/v1/users/{id}/posts", tag = "posts", params(("id" = String, Path), PageParams), responses(
    (status = 200, body = schema::PostPage),
))]
pub async fn of_author(
    Extract(state): Extract<State>,
    caller: Caller,
    UserPath(author): UserPath,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<PostView>>> {
    let name = format!("posts/{author}");
    Source::Author(author).page(&state, &caller, &params, name).await
}
