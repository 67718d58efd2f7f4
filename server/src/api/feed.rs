//! The feed.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::event::PostView;
use serde::Serialize;

use super::State;
use super::caller::Actor;
use super::cursor::List;
use super::extract::Params;
use super::page::PageParams;
use super::posts::views;
use super::schema;
use crate::error::ApiResult;

/// A page of a feed.
#[derive(Serialize)]
pub struct FeedView {
    data: Vec<PostView>,
    next_cursor: Option<String>,
    has_more: bool,
    partial: bool,
}

/// The posts of the authors whom the caller follows, and the caller's own, newest first, down to the oldest kept.
#[utoipa::path(get, path = "/v1/feed", tag = "feed", params(PageParams), responses(
    (status = 200, body = schema::FeedPage),
))]
pub async fn feed(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<FeedView>> {
    let list = List { app: &actor.app, reader: &actor.user, name: "feed".to_owned() };
    let before = state.cursors.open_post(&list, params.cursor.as_deref())?;
    let page = state.feeds.reader.page(&actor.app, &actor.user, before, params.limit).await?;
    let data = views(&state, &actor.app, Some(&actor.user), &page.posts).await?;
    let next_cursor = page.next.map(|id| state.cursors.sign(&list, &id.to_be_bytes()));
    state.metrics.feed_read(page.partial);
    Ok(Json(FeedView { data, has_more: next_cursor.is_some(), next_cursor, partial: page.partial }))
}
