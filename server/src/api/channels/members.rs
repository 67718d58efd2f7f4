//! Who is in a channel.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::{Channel, ScopedChannel};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{ChannelPath, Wish, permitted};
use crate::api::State;
use crate::api::caller::Caller;
use crate::api::extract::{NoParams, Params};
use crate::api::schema;
use crate::error::{ApiError, ApiResult};
use crate::presence::LISTED;

const NO_PRESENCE: &str = "who is in this channel is not kept: set `presence` for its namespace";

/// A connection in a channel.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct MemberInfo {
    /// The user; empty if nobody's.
    user: String,
    /// The connection.
    client: String,
    /// From the connection's token.
    #[schema(value_type = Option<Value>)]
    conn_info: Option<()>,
    /// From the subscription's token.
    #[schema(value_type = Option<Value>)]
    chan_info: Option<()>,
}

/// Who is in a channel.
#[derive(Serialize, ToSchema)]
pub struct MemberList {
    /// In no order.
    #[schema(value_type = Vec<MemberInfo>)]
    data: Vec<Box<RawValue>>,
}

/// Who is in a channel, at most 1,000 connections. Statuses and blocks do not hide anybody here: whoever subscribes to a channel
/// shows up in it.
#[utoipa::path(get, path = "/v1/channels/{channel}/presence", tag = "channels",
    params(("channel" = String, Path, max_length = 255, description = "Its `#` and `/` percent-encoded")),
    responses(
        (status = 200, body = MemberList),
        (status = 403, description = "Not the caller's to know", body = schema::Error),
        (status = 404, description = "Unknown, not for the caller to see, or it is not kept who is there", body = schema::Error),
        (status = 422, description = "More than 1,000: ask for their number", body = schema::Error),
    ))]
pub async fn list(
    Extract(state): Extract<State>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    Params(NoParams {}): Params<NoParams>,
) -> ApiResult<Json<MemberList>> {
    let channel = listed(&state, &caller, channel)?;
    let Some(members) = state.presence.members(&channel).await? else {
        let why = format!("has more than {LISTED} connections: ask for their number at …/presence_stats");
        return Err(ApiError::invalid("channel", why));
    };
    let data = members.iter().filter_map(|member| serde_json::from_slice(&member.info).ok()).collect();
    Ok(Json(MemberList { data }))
}

fn listed(state: &State, caller: &Caller, channel: Channel) -> ApiResult<ScopedChannel> {
    if !permitted(state, caller, &channel, Wish::Presence)?.lists_members() {
        return Err(ApiError::not_found(NO_PRESENCE));
    }
    Ok(ScopedChannel { app: caller.app.clone(), channel })
}

/// How many are in a channel.
#[derive(Serialize, ToSchema)]
pub struct MemberNumbers {
    /// Connections.
    num_clients: usize,
    /// Users.
    num_users: usize,
}

/// How many are in a channel.
#[utoipa::path(get, path = "/v1/channels/{channel}/presence_stats", tag = "channels",
    params(("channel" = String, Path, max_length = 255, description = "Its `#` and `/` percent-encoded")),
    responses(
        (status = 200, body = MemberNumbers),
        (status = 403, description = "Not the caller's to know", body = schema::Error),
        (status = 404, description = "Unknown, not for the caller to see, or it is not kept who is there", body = schema::Error),
    ))]
pub async fn count(
    Extract(state): Extract<State>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    Params(NoParams {}): Params<NoParams>,
) -> ApiResult<Json<MemberNumbers>> {
    let channel = listed(&state, &caller, channel)?;
    let counts = state.presence.count_members(&channel).await?;
    Ok(Json(MemberNumbers { num_clients: counts.clients, num_users: counts.users }))
}
