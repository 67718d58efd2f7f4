//! The page at `/`: a few files that are part of the program.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use crate::api::State;

/// Own files only. Pictures are drawn, not loaded; sockets come from this host, whose name the policy can't know.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

macro_rules! asset {
    ($kind:literal, $file:literal) => {
        get(|| async { asset($kind, include_bytes!(concat!("../../assets/demo/", $file))) })
    };
}

/// The routes of the page.
pub fn router() -> Router<State> {
    Router::new()
        .route("/", asset!("text/html; charset=utf-8", "index.html"))
        .route("/app.js", asset!("text/javascript; charset=utf-8", "app.js"))
        .route("/style.css", asset!("text/css; charset=utf-8", "style.css"))
        .route("/favicon.svg", asset!("image/svg+xml", "favicon.svg"))
}

fn asset(kind: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes).into_response()
}
