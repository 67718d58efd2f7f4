//! `Idempotency-Key`: the same request twice is done once, and answered twice.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use fama_protocol::PostId;
use fama_storage::{Claim, RequestKey, StoredResponse};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::State;
use super::caller::Actor;
use crate::error::{ApiError, ApiResult};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY: usize = 255;

/// The key of a request, if it has one.
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let key = value
            .to_str()
            .ok()
            .filter(|key| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
        match (key, values.next()) {
            (Some(key), None) => Ok(Self(Some(key.to_owned()))),
            _ => Err(ApiError::bad_request("Idempotency-Key has 1 to 255 visible ASCII characters, once")),
        }
    }
}

/// What is to be done with a request.
pub enum Begin {
    /// It is this caller's to do; the key, if it has one, is to be completed with the answer.
    Do(Option<RequestKey>),
    /// It was done, with this id, but never answered.
    Finish(RequestKey, PostId),
    /// It was answered: once more, the same.
    Replay(StoredResponse),
}

/// Claims a request. `id` is what the request shall be known by: the minted id of what it creates.
pub async fn begin(
    state: &State,
    actor: &Actor,
    route: &'static str,
    key: IdempotencyKey,
    body: &[u8],
    id: PostId,
) -> ApiResult<Begin> {
    let Some(key) = key.0 else { return Ok(Begin::Do(None)) };
    let key = RequestKey { user: actor.user.clone(), route: route.to_owned(), key };
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, body).as_ref());
    match state.stores.idempotency.claim(&actor.app, &key, hash, id, state.clock.now()).await? {
        Claim::Granted { id: granted, taken_over: true } if granted != id => Ok(Begin::Finish(key, granted)),
        Claim::Granted { .. } => Ok(Begin::Do(Some(key))),
        Claim::Running => {
            Err(ApiError::conflict("the first request with this Idempotency-Key is still running"))
        }
        Claim::Mismatch => Err(ApiError::idempotency_key_reused()),
        Claim::Done(stored) => Ok(Begin::Replay(stored)),
    }
}

/// Gives a claim back if nothing can have been written: then the caller may try again at once.
pub async fn give_up(
    state: &State,
    actor: &Actor,
    key: Option<&RequestKey>,
    id: PostId,
    error: ApiError,
) -> ApiError {
    // After 5xx something may have been written: the claim runs out by itself, and whoever takes it over looks.
    if let Some(key) = key
        && error.status().is_client_error()
        && let Err(error) = state.stores.idempotency.abandon(&actor.app, key, id).await
    {
        tracing::warn!(%error, "a claim could not be given back");
    }
    error
}

/// JSON as it is kept, with its status.
pub fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// A kept answer.
pub fn replay(stored: StoredResponse) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let mut response = json(status, stored.body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
