//! `/admin/revoke`: a token, or all tokens that a user has.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::{AppId, UnixMs, UserId};
use fama_storage::{Revocation, Revoked};
use serde::{Deserialize, Serialize};

use super::State;
use crate::api::extract::{JsonBody, NoParams, Params};
use crate::auth::jwt::LEEWAY_MS;
use crate::error::{ApiError, ApiResult};

/// Kept so long unless the request says until when the tokens are good: 90 days.
const DEFAULT_MS: u64 = 90 * 86_400_000;
/// And at most ten years.
const MOST_MS: u64 = 3_653 * 86_400_000;

/// One of `user` and `jti`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    #[serde(default)]
    app: AppId,
    user: Option<UserId>,
    jti: Option<String>,
    /// When the last of the tokens ends.
    expires_at: Option<UnixMs>,
}

/// What is refused from now on.
#[derive(Serialize)]
pub(super) struct RevokedView {
    app: AppId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// A user's tokens issued up to then are refused.
    revoked_at: UnixMs,
    expires_at: UnixMs,
}

pub(super) async fn post(
    Extract(state): Extract<State>,
    Params(NoParams {}): Params<NoParams>,
    body: JsonBody<Revoke>,
) -> ApiResult<Json<RevokedView>> {
    let Revoke { app, user, jti, expires_at } = body.value;
    let revoked = match (&user, &jti) {
        (Some(user), None) => Revoked::User(user.clone()),
        (None, Some(jti)) => Revoked::Token(jti.clone()),
        _ => return Err(ApiError::bad_request("send either `user` or `jti`")),
    };
    if jti.as_ref().is_some_and(|jti| jti.is_empty() || jti.len() > 255 || jti.contains('\0')) {
        return Err(ApiError::invalid("jti", "must have 1 to 255 bytes, none of them 0"));
    }
    if state.revocations.is_full() {
        let message = "too many tokens are revoked at once: change the key that signs them instead";
        return Err(ApiError::unavailable(message));
    }
    let now = state.clock.now();
    let until = expires_at.unwrap_or_else(|| now.plus(DEFAULT_MS));
    if until <= now || until > now.plus(MOST_MS) {
        return Err(ApiError::invalid("expires_at", "must be in the future, within ten years"));
    }
    // Clocks differ: tokens are taken a little beyond their end.
    let revocation = Revocation { at: now, app: app.clone(), revoked, until: until.plus(LEEWAY_MS) };
    state.revocations.revoke(&revocation).await?;
    tracing::info!(%app, kind = if user.is_some() { "user" } else { "token" }, "an operator revoked tokens");
    Ok(Json(RevokedView { app, user, jti, revoked_at: now, expires_at: until }))
}
