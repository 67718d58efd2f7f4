//! What handlers take from requests, refused in one way: malformed or unknown is 400.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use fama_protocol::{PostId, UserId};
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, ApiResult};

/// A JSON body, and its bytes for the comparison of repeated requests. Unknown fields are refused by the type.
pub struct JsonBody<T> {
    /// What it says.
    pub value: T,
    /// As it came.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported_media_type());
        }
        // Size and time were limited before: see `guard`.
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| ApiError::bad_request("the request's body could not be read"))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::bad_request(format!("the body is not what is expected here: {error}"))
        })?;
        Ok(Self { value, bytes })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Query parameters. Unknown ones are refused by the type, repeated ones by the parser.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let why = rejection.body_text();
                let why = why.trim_start_matches("Failed to deserialize query string: ");
                Err(ApiError::bad_request(format!("the query is not what is expected here: {why}")))
            }
        }
    }
}

/// No query parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Part of a path, taken as it is.
async fn segments<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> ApiResult<T> {
    match Path::<T>::from_request_parts(parts, state).await {
        Ok(Path(value)) => Ok(value),
        Err(_) => Err(ApiError::bad_request("the path is not UTF-8")),
    }
}

/// The user of a path.
pub struct UserPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text: String = segments(parts, state).await?;
        UserId::new(&text).map(Self).map_err(|error| ApiError::bad_request(error.to_string()))
    }
}

/// The post of a path.
pub struct PostPath(pub PostId);

impl<S: Send + Sync> FromRequestParts<S> for PostPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text: String = segments(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|error: fama_protocol::IdError| ApiError::bad_request(error.to_string()))
    }
}

/// The post and the kind of reaction of a path.
pub struct ReactionPath {
    /// The post.
    pub post: PostId,
    /// The kind: 1 to 32 characters of a-z 0-9 _ -.
    pub kind: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ReactionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let (post, kind): (String, String) = segments(parts, state).await?;
        let post =
            post.parse().map_err(|error: fama_protocol::IdError| ApiError::bad_request(error.to_string()))?;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if kind.is_empty() || kind.len() > 32 || !kind.bytes().all(allowed) {
            return Err(ApiError::bad_request("a kind of reaction has 1 to 32 characters of a-z 0-9 _ -"));
        }
        Ok(Self { post, kind })
    }
}
