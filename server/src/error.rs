//! What a request is answered with when it is refused or fails: status, stable code, a message for people, details.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use fama_fanout::FanoutError;
use fama_storage::{ErrorKind, StorageError};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::Refusal;
use crate::ids::IdError;
use crate::presence::PresenceError;

/// Seconds after which what is unavailable may be asked for again.
const RETRY_AFTER_S: u64 = 1;

/// An error as callers see it.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    details: Map<String, Value>,
    retry_after_s: Option<u64>,
}

/// Result of handlers.
pub type ApiResult<T> = Result<T, ApiError>;

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    message: &'a str,
    details: &'a Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), details: Map::new(), retry_after_s: None }
    }

    /// 400: malformed or unknown.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401.
    pub fn unauthorized(refusal: Refusal) -> Self {
        match refusal {
            Refusal::KeysUnavailable => Self::unavailable(refusal.to_string()),
            _ => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", refusal.to_string()),
        }
    }

    /// 401 with a text of its own.
    pub fn not_signed_in(message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: seen, but not the caller's to change.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404: not there, or not for the caller to see. Which of the two is not told.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has other methods")
    }

    /// 408: the body did not arrive in time.
    pub fn timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request's body took too long to arrive")
    }

    /// 409.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 413.
    pub fn payload_too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the request's body has more than {most} bytes"),
        )
    }

    /// 415.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send JSON with Content-Type: application/json",
        )
    }

    /// 422: well formed but out of range; `fields` says what is wrong with each.
    pub fn validation(fields: Map<String, Value>) -> Self {
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            "the request is well formed but out of range: see details.fields",
        );
        error.details.insert("fields".into(), Value::Object(fields));
        error
    }

    /// 422 for one field.
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::validation(Map::from_iter([(field.to_owned(), Value::String(why.into()))]))
    }

    /// 422: the key was used for another request.
    pub fn idempotency_key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "this Idempotency-Key was used for another request",
        )
    }

    /// 429.
    pub fn rate_limited(retry_after_s: u64) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("too many requests: try again in {retry_after_s} s"),
        );
        error.details.insert("retry_after_s".into(), retry_after_s.into());
        error.retry_after_s = Some(retry_after_s);
        error
    }

    /// 500. The cause is logged here and not told.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong here; it was logged")
    }

    /// 503.
    pub fn busy(retry_after_s: u64) -> Self {
        let mut error = Self::unavailable("the server has more to do than it can: try again later");
        error.retry_after_s = Some(retry_after_s);
        error
    }

    /// 503.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        error.retry_after_s = Some(RETRY_AFTER_S);
        error
    }

    /// 504: a write may have happened.
    pub fn upstream_timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "no answer in time; what was asked for may have happened",
        )
    }

    /// The code, which stays the same.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Message and faulty fields, for people at a terminal.
    pub fn explain(&self) -> String {
        match self.details.get("fields").and_then(Value::as_object) {
            Some(fields) => {
                let fields =
                    fields.iter().map(|(field, why)| format!("{field} {}", why.as_str().unwrap_or_default()));
                fields.collect::<Vec<_>>().join("; ")
            }
            None => self.message.clone().into_owned(),
        }
    }

    /// Whether the same request may work later, nothing having been written now.
    pub fn is_worth_repeating(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error.kind() {
            ErrorKind::Unavailable => {
                tracing::warn!(%error, "the store is unavailable");
                Self::unavailable("the store does not answer; what was asked for may have happened")
            }
            ErrorKind::Full => {
                tracing::error!(%error, "the store is full");
                Self::unavailable("there is no room for writing at the moment; reading works")
            }
            ErrorKind::Poisoned => {
                tracing::error!(%error, "the store refuses writes");
                Self::unavailable("writing is stopped until the server is restarted")
            }
            ErrorKind::Conflict => Self::conflict("another request with this Idempotency-Key took over"),
            ErrorKind::Corrupt | ErrorKind::Invalid => Self::internal(&error),
        }
    }
}

impl From<FanoutError> for ApiError {
    fn from(error: FanoutError) -> Self {
        match error {
            FanoutError::Storage(error) => error.into(),
            retryable if retryable.is_retryable() => {
                tracing::warn!(error = %retryable, "a part is unavailable");
                Self::unavailable("a part of the server is unavailable at the moment")
            }
            #[allow(unreachable_patterns, reason = "errors of that crate may become final ones")]
            other => Self::internal(&other),
        }
    }
}

impl From<PresenceError> for ApiError {
    fn from(error: PresenceError) -> Self {
        match error {
            PresenceError::Store(error) => error.into(),
            PresenceError::Backend(error) => {
                tracing::warn!(%error, "presence is unavailable");
                Self::unavailable("who is online is not known at the moment")
            }
        }
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        match error {
            IdError::Storage(error) => error.into(),
            other => {
                tracing::error!(error = %other, "no id could be minted");
                Self::unavailable("posting is not possible at the moment")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body { error: self.code, message: &self.message, details: &self.details };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
