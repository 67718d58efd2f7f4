//! What every request to the API passes: rates, sign-in, size and time of the body, the deadline.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State as Extract};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fama_protocol::{AppId, UserId};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::State;
use super::caller::{Caller, identify};
use super::shed::Busy;
use crate::config::{Limits, RouteRate};
use crate::error::{ApiError, ApiResult};
use crate::net::{client_address, rate_key};
use crate::ratelimit::{Decision, Rate, Table};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Whose rate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum RateKey {
    Address(IpAddr),
    User(AppId, UserId),
    Service(AppId, UserId),
    Route(AppId, UserId, usize),
}

/// Rates of everyone.
pub struct Limiter {
    table: Table<RateKey>,
    user: Option<Rate>,
    address: Option<Rate>,
    service: Option<Rate>,
    routes: Vec<(RouteRate, Option<Rate>)>,
}

impl Limiter {
    /// From the configuration.
    pub fn new(limits: &Limits) -> Self {
        let routes = limits.routes.iter().filter_map(|text| RouteRate::parse(text).ok());
        Self {
            table: Table::new(limits.tracked),
            user: Rate::per_minute(limits.user_per_minute),
            address: Rate::per_minute(limits.address_per_minute),
            service: Rate::per_minute(limits.service_per_minute),
            routes: routes.map(|route| (route.clone(), Rate::per_minute(route.per_minute))).collect(),
        }
    }

    /// Charges a user for one more request to a route by POST, where one call is many; the seconds to wait if it is too
    /// many. Services are charged by calls.
    pub fn charge(&self, caller: &Caller, path: &str, now_ms: u64) -> Option<u64> {
        if caller.is_trusted() {
            return None;
        }
        let (key, rate) = self.of(caller, &Method::POST, Some(path));
        let decision = self.check(&key, rate, now_ms * 1_000, true)?;
        (!decision.allowed).then_some(decision.retry_after_s.max(1))
    }

    fn check(&self, key: &RateKey, rate: Option<Rate>, now_us: u64, charge: bool) -> Option<Decision> {
        rate.map(|rate| self.table.check(key, rate, now_us, charge))
    }

    /// The rate that one caller's request counts against.
    fn of(&self, caller: &Caller, method: &Method, path: Option<&str>) -> (RateKey, Option<Rate>) {
        if caller.is_trusted() {
            return (RateKey::Service(caller.app.clone(), caller.name.clone()), self.service);
        }
        let fits = |route: &RouteRate| route.method == *method && Some(route.path.as_str()) == path;
        if let Some((index, (_, rate))) = self.routes.iter().enumerate().find(|(_, (route, _))| fits(route)) {
            return (RateKey::Route(caller.app.clone(), caller.name.clone(), index), *rate);
        }
        (RateKey::User(caller.app.clone(), caller.name.clone()), self.user)
    }
}

fn put(headers: &mut HeaderMap, decision: Decision) {
    headers.insert(LIMIT, decision.limit.into());
    headers.insert(REMAINING, decision.remaining.into());
    headers.insert(RESET, decision.reset_s.into());
}

/// The peer's address; the connection engine tells it.
fn peer(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}

/// Methods of each path of the API, as its description has them.
pub fn methods(paths: &utoipa::openapi::Paths) -> HashMap<String, Vec<Method>> {
    let of = |item: &utoipa::openapi::PathItem| {
        let all = [
            (item.get.is_some(), Method::GET),
            (item.get.is_some(), Method::HEAD),
            (item.post.is_some(), Method::POST),
            (item.put.is_some(), Method::PUT),
            (item.patch.is_some(), Method::PATCH),
            (item.delete.is_some(), Method::DELETE),
        ];
        all.into_iter().filter_map(|(is, method)| is.then_some(method)).collect()
    };
    paths.paths.iter().map(|(path, item)| (path.clone(), of(item))).collect()
}

/// Which methods a path has is no secret, and a method that it does not have is wrong whoever asks: so it comes before
/// sign-in.
pub async fn known_methods(
    Extract(known): Extract<Arc<HashMap<String, Vec<Method>>>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if let Some(methods) = path.and_then(|path| known.get(path))
        && !methods.contains(request.method())
    {
        let mut response = ApiError::method_not_allowed().into_response();
        let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(",");
        if let Ok(allow) = HeaderValue::from_str(&allow) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        return response;
    }
    next.run(request).await
}

/// The middleware.
pub async fn guard(Extract(state): Extract<State>, mut request: Request, next: Next) -> Response {
    let address = rate_key(client_address(peer(&request), request.headers(), &state.trusted_proxies));
    let key = RateKey::Address(address);
    let now_us = state.clock.monotonic_ms() * 1_000;
    let of_address = |charge| state.limiter.check(&key, state.limiter.address, now_us, charge);
    // Without credentials that hold, the address pays: guessing tokens is limited too. Services don't share one.
    if let Some(decision) = of_address(false)
        && !decision.allowed
        && !request.headers().contains_key("x-api-key")
    {
        return refuse(decision);
    }
    if let Err(Busy(seconds)) = state.shedder.judge() {
        return ApiError::busy(seconds).into_response();
    }
    let caller = match identify(&state.authority, request.headers()).await {
        Ok(caller) => caller,
        Err(error) => return with_rate(error.into_response(), of_address(true)),
    };
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let (user_key, rate) = state.limiter.of(&caller, request.method(), path);
    let mut shown = if caller.is_trusted() { None } else { of_address(true) };
    if let Some(decision) = state.limiter.check(&user_key, rate, now_us, true) {
        if !decision.allowed {
            return refuse(decision);
        }
        // The one with less left is the one to heed.
        if shown.is_none_or(|other| decision.remaining <= other.remaining) {
            shown = Some(decision);
        }
    }
    if let Some(decision) = shown
        && !decision.allowed
    {
        return refuse(decision);
    }
    request.extensions_mut().insert(caller.clone());
    let mut response = match limited(&state, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    // For the log.
    response.extensions_mut().insert(caller);
    with_rate(response, shown)
}

fn refuse(decision: Decision) -> Response {
    with_rate(ApiError::rate_limited(decision.retry_after_s.max(1)).into_response(), Some(decision))
}

fn with_rate(mut response: Response, decision: Option<Decision>) -> Response {
    if let Some(decision) = decision {
        put(response.headers_mut(), decision);
    }
    response
}

/// Reads the body within its bounds, then runs the handler within its own.
async fn limited(state: &State, request: Request, next: Next) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    let most = state.body_bytes;
    let reading = tokio::time::timeout(Duration::from_millis(state.body_ms), read(body, most));
    let bytes = reading.await.map_err(|_| ApiError::timeout())??;
    let request = Request::from_parts(parts, Body::from(bytes));
    let _turn = state.shedder.turn().await.map_err(|Busy(seconds)| ApiError::busy(seconds))?;
    let handling = tokio::time::timeout(Duration::from_millis(state.request_ms), next.run(request));
    handling.await.map_err(|_| ApiError::upstream_timeout())
}

async fn read(body: Body, most: usize) -> ApiResult<Bytes> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::payload_too_large(most))
        }
        Err(_) => Err(ApiError::bad_request("the request's body ended early or is not well formed")),
    }
}
