//! One publication to many channels.

use std::collections::HashSet;

use axum::extract::State as Extract;
use axum::response::Response;
use bytes::Bytes;
use fama_protocol::Epoch;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Claimed, Published, answer, channel_named, checked, claim, claimant, publish_to};
use crate::api::State;
use crate::api::caller::Caller;
use crate::api::extract::{JsonBody, NoParams, Params};
use crate::api::idempotency::{IdempotencyKey, give_up};
use crate::api::schema;
use crate::error::{ApiError, ApiResult};

const PATH: &str = "/v1/broadcast";
const ROUTE: &str = "POST /v1/broadcast";
/// Channels of one request.
const MAX_CHANNELS: usize = 1_000;
/// Channels published to at once.
const AT_ONCE: usize = 32;

/// What is published, and where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBroadcast {
    /// 1 to 1,000, each once.
    #[schema(min_items = 1, max_items = 1000)]
    channels: Vec<String>,
    /// Any JSON, at most 60 KiB and 64 levels.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

/// What became of one channel: where the publication is, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastResult {
    /// Counts from 1 within the epoch; left out where the channel keeps nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// This life of the channel's history; left out where the channel keeps nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    epoch: Option<Epoch>,
    /// The code of an error, such as `not_found` or `rate_limited`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// What became of each channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct BroadcastResults {
    /// In the order of the channels asked for.
    results: Vec<BroadcastResult>,
}

/// Publishes the same to many channels. One that can't be published to keeps no other from it. To users' rates each channel
/// counts as a request.
#[utoipa::path(post, path = "/v1/broadcast", tag = "channels", request_body = NewBroadcast,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key and body within 24 hours publish once")),
    responses(
        (status = 200, body = BroadcastResults),
        (status = 409, description = "The first request with this key is still running", body = schema::Error),
        (status = 415, body = schema::Error),
        (status = 422, description = "Out of range, or the key was used with another body", body = schema::Error),
    ))]
pub async fn broadcast(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewBroadcast>,
) -> ApiResult<Response> {
    let NewBroadcast { channels, data } = body.value;
    let data = checked(&data)?;
    if !(1..=MAX_CHANNELS).contains(&channels.len()) {
        let why = format!("has {} channels: 1 to {MAX_CHANNELS}", channels.len());
        return Err(ApiError::invalid("channels", why));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = channels.iter().find(|channel| !seen.insert(channel.as_str())) {
        return Err(ApiError::invalid("channels", format!("has {twice:?} twice")));
    }
    let actor = claimant(&caller);
    let (claimed, id) = claim(&state, &actor, ROUTE, key, &body.bytes).await?;
    let key = match claimed {
        Claimed::Do(key) => key,
        Claimed::Done(response) => return Ok(response),
    };
    let name = key.as_ref().map(|(_, name)| name.as_str());
    let each = channels.iter().enumerate();
    let each = each.map(|(at, channel)| one(&state, &caller, at > 0, channel, data.clone(), name));
    let each: Vec<_> = each.collect();
    let results: Vec<ApiResult<Published>> = stream::iter(each).buffered(AT_ONCE).collect().await;
    // Whoever asks again then gets the rest done; what was kept with a key is not kept twice.
    let failed = |result: &&ApiResult<Published>| result.as_ref().is_err_and(ApiError::is_worth_repeating);
    let key = key.as_ref().map(|(key, _)| key);
    if let Some(Err(error)) = results.iter().find(failed)
        && key.is_some()
    {
        return Err(give_up(&state, &actor, key, id, error.clone()).await);
    }
    let results = results.into_iter().map(BroadcastResult::from).collect();
    answer(&state, &actor, key, &BroadcastResults { results }).await
}

/// One channel's part. The first is paid for with the request.
async fn one(
    state: &State,
    caller: &Caller,
    costs: bool,
    channel: &str,
    data: Bytes,
    event_id: Option<&str>,
) -> ApiResult<Published> {
    let channel = channel_named(channel)?;
    if costs && let Some(retry_after_s) = state.limiter.charge(caller, PATH, state.clock.monotonic_ms()) {
        return Err(ApiError::rate_limited(retry_after_s));
    }
    publish_to(state, caller, channel, data, event_id.map(str::to_owned)).await
}

impl From<ApiResult<Published>> for BroadcastResult {
    fn from(result: ApiResult<Published>) -> Self {
        match result {
            Ok(Published { offset, epoch }) => Self { offset, epoch, error: None },
            Err(error) => Self { offset: None, epoch: None, error: Some(error.code()) },
        }
    }
}
