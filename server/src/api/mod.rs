//! The REST API: one file for each resource. Requests pass [`edge`] (ids, logs, headers, CORS) and [`guard`] (rates,
//! sign-in, bounds) before they reach a handler.

pub mod caller;
mod channels;
pub mod cursor;
mod edge;
pub(crate) mod extract;
mod feed;
mod following;
mod guard;
mod health;
mod idempotency;
mod notifications;
mod openapi;
pub mod page;
pub(crate) mod post_body;
mod post_lists;
mod posts;
mod presence;
mod reactions;
mod relations;
mod schema;
mod shed;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use fama_fanout::{Clock, Feeds};
use fama_storage::Stores;
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use channels::Channels;
pub use cursor::Cursors;
pub use guard::Limiter;
pub use shed::Shedder;

use crate::auth::Authority;
use crate::demo::Demo;
use crate::error::ApiError;
use crate::health::Health;
use crate::ids::Minter;
use crate::net::Network;
use crate::presence::Presence;
use crate::telemetry::Metrics;

/// What handlers work with.
pub struct Inner {
    /// The truth.
    pub stores: Stores,
    /// Writing and reading feeds.
    pub feeds: Feeds,
    /// Ids of posts.
    pub minter: Arc<Minter>,
    /// Who is online.
    pub presence: Arc<Presence>,
    /// The app's own channels.
    pub channels: Channels,
    /// Who is believed.
    pub authority: Arc<Authority>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Signs cursors.
    pub cursors: Cursors,
    /// Rates.
    pub limiter: Limiter,
    /// Requests in flight.
    pub shedder: Arc<Shedder>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Whether this process works.
    pub health: Arc<Health>,
    /// How many sockets there are.
    pub connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// Origins of browsers besides our own.
    pub allowed_origins: Vec<String>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Milliseconds for a body.
    pub body_ms: u64,
    /// Milliseconds for a handler.
    pub request_ms: u64,
    /// Followees of a user.
    pub follow_cap: u64,
    /// Users that one blocks, and mutes.
    pub relation_cap: u64,
    /// Whether the page is served at `/`.
    pub page: bool,
    /// The demonstration, if this process is one.
    pub demo: Option<Demo>,
}

/// Shared by all handlers.
pub type State = Arc<Inner>;

impl Inner {
    /// How many sockets there are.
    pub fn connections(&self) -> usize {
        (self.connections)()
    }
}

fn v1() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(<openapi::Description as utoipa::OpenApi>::openapi())
        .routes(routes!(posts::create, posts::get_many))
        .routes(routes!(posts::get, posts::edit, posts::delete))
        .routes(routes!(post_lists::replies))
        .routes(routes!(post_lists::of_author))
        .routes(routes!(reactions::list))
        .routes(routes!(reactions::put, reactions::delete))
        .routes(routes!(users::get, users::put))
        .routes(routes!(following::own_following, following::follow_many))
        .routes(routes!(following::follow, following::unfollow))
        .routes(routes!(following::own_followers))
        .routes(routes!(following::following_of))
        .routes(routes!(following::followers_of))
        .routes(routes!(relations::blocks))
        .routes(routes!(relations::block, relations::unblock))
        .routes(routes!(relations::mutes))
        .routes(routes!(relations::mute, relations::unmute))
        .routes(routes!(feed::feed))
        .routes(routes!(presence::read, presence::choose))
        .routes(routes!(channels::publish, channels::read))
        .routes(routes!(channels::members::list))
        .routes(routes!(channels::members::count))
        .routes(routes!(channels::broadcast::broadcast))
        .routes(routes!(notifications::list, notifications::send))
        .routes(routes!(notifications::counts))
        .routes(routes!(notifications::seen))
        .routes(routes!(notifications::read))
        .routes(routes!(notifications::unread))
        .routes(routes!(notifications::archive))
}

/// The description alone: for `/openapi.json` and for tests.
pub fn description() -> utoipa::openapi::OpenApi {
    let (_, mut openapi) = v1().merge(operations()).split_for_parts();
    openapi::complete(&mut openapi);
    openapi
}

fn operations() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
}

async fn no_route() -> ApiError {
    ApiError::not_found("there is nothing under this path")
}

async fn no_method() -> ApiError {
    ApiError::method_not_allowed()
}

/// Every request that is not a socket's.
pub fn router(state: State) -> Router {
    let (v1, described) = v1().split_for_parts();
    let methods = Arc::new(guard::methods(&described.paths));
    let guarded = v1
        // Unknown paths cost the caller what others cost.
        .route("/v1/{*rest}", any(no_route))
        .method_not_allowed_fallback(no_method)
        .route_layer(from_fn_with_state(Arc::clone(&state), guard::guard))
        .route_layer(from_fn_with_state(methods, guard::known_methods));
    let (operations, _) = operations().split_for_parts();
    let mut open = operations
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| async { docs(Path(String::new())) }))
        .route("/docs/{file}", get(|file| async { docs(file) }))
        .route("/openapi.json", get(openapi_json));
    if state.page {
        open = open.merge(crate::demo::page::router());
    }
    if state.demo.is_some() {
        open = open.merge(crate::demo::routes::router());
    }
    guarded
        .merge(open.method_not_allowed_fallback(no_method))
        .fallback(no_route)
        .layer(from_fn_with_state(Arc::clone(&state), edge::edge))
        .with_state(state)
}

async fn openapi_json() -> Response {
    axum::Json(description()).into_response()
}

/// Swagger UI looks for its styles and pictures in itself.
const DOCS_POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

fn docs(Path(file): Path<String>) -> Response {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        Ok(Some(file)) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type.as_str()),
                (header::CONTENT_SECURITY_POLICY, DOCS_POLICY),
                (header::CACHE_CONTROL, "max-age=3600"),
            ];
            (headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) => ApiError::not_found("there is nothing under this path").into_response(),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}
