//! Who calls, on whose behalf, and what follows from it.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use fama_protocol::{AppId, UserId};
use http::request::Parts;
use http::{HeaderMap, header};

use crate::auth::{Access, Authority, Refusal};
use crate::error::{ApiError, ApiResult};

/// Header with the user that a service acts for.
pub const FAMA_USER: &str = "fama-user";
const API_KEY: &str = "x-api-key";

/// A caller who is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant.
    pub app: AppId,
    /// The token's subject, or the service's name.
    pub name: UserId,
    /// On whose behalf. `None`: a service on its own.
    pub user: Option<UserId>,
    /// What it may do.
    pub access: Access,
}

impl Caller {
    /// Who reads: cursors are bound to it.
    pub fn reader(&self) -> &UserId {
        self.user.as_ref().unwrap_or(&self.name)
    }

    /// Whether it is the app's own backend, or a moderator.
    pub fn is_trusted(&self) -> bool {
        self.access >= Access::Service
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::unauthorized(Refusal::Missing))
    }
}

/// A caller that acts for a user.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The tenant.
    pub app: AppId,
    /// The user.
    pub user: UserId,
    /// What the caller may do.
    pub access: Access,
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let caller = <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        match caller.user {
            Some(user) => Ok(Self { app: caller.app, user, access: caller.access }),
            None => Err(ApiError::bad_request("a service acts here for a user: send its id as `Fama-User`")),
        }
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Option<Self>> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// The one value of a header; two are a mistake, or an attempt to be read differently by a proxy.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> ApiResult<Option<&'a [u8]>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.as_bytes())),
        _ => Err(ApiError::bad_request(format!("the header {name} is there more than once"))),
    }
}

/// Finds out who calls.
pub async fn identify(authority: &Authority, headers: &HeaderMap) -> ApiResult<Caller> {
    let bearer = single(headers, header::AUTHORIZATION.as_str())?;
    let key = single(headers, API_KEY)?;
    let caller = match (bearer, key) {
        (Some(_), Some(_)) => return Err(ApiError::bad_request("send a token or an API key, not both")),
        (Some(value), None) => from_token(authority, bearer_token(value)?).await?,
        (None, Some(key)) => {
            let service = authority.service(key).ok_or(ApiError::unauthorized(Refusal::ApiKey))?;
            Caller {
                app: service.app.clone(),
                name: service.name.clone(),
                user: None,
                access: Access::Service,
            }
        }
        (None, None) if authority.is_insecure() => insecure()?,
        (None, None) => return Err(ApiError::unauthorized(Refusal::Missing)),
    };
    on_behalf(caller, single(headers, FAMA_USER)?)
}

fn bearer_token(value: &[u8]) -> ApiResult<&str> {
    let text = std::str::from_utf8(value).ok();
    let (scheme, token) = text.and_then(|text| text.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        return Ok(token.trim());
    }
    Err(ApiError::not_signed_in("write the header as `Authorization: Bearer <token>`"))
}

async fn from_token(authority: &Authority, token: &str) -> ApiResult<Caller> {
    let verified = authority.token(token).await.map_err(ApiError::unauthorized)?;
    if verified.channel.is_some() {
        return Err(ApiError::not_signed_in("this token is for subscribing to a channel only"));
    }
    Ok(Caller {
        app: verified.app.clone(),
        name: verified.user.clone(),
        user: Some(verified.user.clone()),
        access: verified.access,
    })
}

/// Without credentials, where the configuration lets anybody in.
fn insecure() -> ApiResult<Caller> {
    let name = UserId::new("insecure").map_err(|error| ApiError::internal(&error))?;
    Ok(Caller { app: AppId::default(), name, user: None, access: Access::Service })
}

fn on_behalf(mut caller: Caller, user: Option<&[u8]>) -> ApiResult<Caller> {
    let Some(user) = user else { return Ok(caller) };
    if !caller.is_trusted() {
        return Err(ApiError::forbidden("only services act for other users: leave `Fama-User` out"));
    }
    let user = std::str::from_utf8(user).ok().and_then(|text| UserId::new(text).ok());
    caller.user = Some(user.ok_or_else(|| ApiError::bad_request("`Fama-User` is not a user id"))?);
    Ok(caller)
}
