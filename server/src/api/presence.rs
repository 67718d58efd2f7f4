//! Who is online.

use axum::Json;
use axum::extract::State as Extract;
use fama_presence::{Chosen, Seen};
use fama_protocol::{UnixMs, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::caller::{Actor, Caller};
use super::extract::{JsonBody, NoParams, Params};
use super::schema;
use crate::error::{ApiError, ApiResult};
use crate::presence::USERS;

/// Which users.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersParams {
    /// At most 500, with commas between them.
    users: String,
}

/// How a user looks to the caller.
#[derive(Serialize, ToSchema)]
pub struct UserPresence {
    /// The user.
    #[schema(value_type = String)]
    user: UserId,
    /// `online`, `away` or `offline`. Whoever may not be seen is offline.
    #[schema(value_type = StatusName)]
    status: &'static str,
    /// When the user was seen last; `null` while online, and if never.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_seen: Option<UnixMs>,
    /// How many devices are connected.
    devices: u32,
}

/// How a user looks.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "described, not built")]
pub enum StatusName {
    /// Connected.
    Online,
    /// Connected, but not at hand.
    Away,
    /// Not connected.
    Offline,
}

/// Users, in the order asked.
#[derive(Serialize, ToSchema)]
pub struct PresenceList {
    data: Vec<UserPresence>,
}

/// Whether users are online, as far as the caller may know: see `presence.visibility`. Those who block the caller are
/// offline.
#[utoipa::path(get, path = "/v1/presence", tag = "presence", params(UsersParams), responses(
    (status = 200, body = PresenceList),
))]
pub async fn read(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(params): Params<UsersParams>,
) -> ApiResult<Json<PresenceList>> {
    if params.users.split(',').count() > USERS {
        return Err(ApiError::bad_request(format!("at most {USERS} users at once")));
    }
    let user = |text: &str| UserId::new(text).map_err(|error| ApiError::bad_request(error.to_string()));
    let users: Vec<UserId> = params.users.split(',').map(user).collect::<ApiResult<_>>()?;
    let seen = state.presence.read(&caller.app, caller.user.as_ref(), &users).await?;
    let shown = |(user, seen): (UserId, Seen)| UserPresence {
        user,
        status: seen.status.as_str(),
        last_seen: seen.last_seen,
        devices: seen.devices,
    };
    Ok(Json(PresenceList { data: users.into_iter().zip(seen).map(shown).collect() }))
}

/// As what a user wants to be seen.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChosenName {
    /// As connected, while connected.
    Online,
    /// As connected, but not at hand.
    Away,
    /// As not connected.
    Invisible,
}

/// A choice.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    status: ChosenName,
}

/// Chooses as what the caller is seen while connected, on whatever device, until the next choice.
#[utoipa::path(put, path = "/v1/presence", tag = "presence", request_body = Choice, responses(
    (status = 204, description = "So it is seen from now on"),
    (status = 415, body = schema::Error),
))]
pub async fn choose(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    body: JsonBody<Choice>,
) -> ApiResult<StatusCode> {
    let chosen = match body.value.status {
        ChosenName::Online => Chosen::Online,
        ChosenName::Away => Chosen::Away,
        ChosenName::Invisible => Chosen::Invisible,
    };
    state.presence.choose(&actor.app, &actor.user, chosen).await?;
    Ok(StatusCode::NO_CONTENT)
}
