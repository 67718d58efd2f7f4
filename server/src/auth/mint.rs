//! Signs tokens: for `fama token`, the demonstration and tests. Apps sign theirs themselves.

use fama_protocol::{AppId, UnixMs, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::Access;

/// What a token shall say.
#[derive(Debug, Clone)]
pub struct Grant<'a> {
    /// The tenant.
    pub app: &'a AppId,
    /// The user.
    pub user: &'a UserId,
    /// What the holder may do.
    pub access: Access,
    /// Seconds for which it is good.
    pub ttl_s: u64,
    /// What `iss` is, if it is checked.
    pub issuer: Option<&'a str>,
    /// What `aud` is, if it is checked.
    pub audience: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a UserId,
    app: &'a AppId,
    iat: u64,
    exp: u64,
    role: Access,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// An HS256 token.
pub fn sign(grant: &Grant<'_>, secret: &[u8], now: UnixMs) -> Result<String, jsonwebtoken::errors::Error> {
    let iat = now.0 / 1_000;
    let claims = Claims {
        sub: grant.user,
        app: grant.app,
        iat,
        exp: iat.saturating_add(grant.ttl_s),
        role: grant.access,
        iss: grant.issuer,
        aud: grant.audience,
    };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
}
