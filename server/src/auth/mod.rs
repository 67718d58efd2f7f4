//! Who is calling: tokens, API keys, and on whose behalf.
//!
//! [`jwt`] checks one token against [`keys`]; [`jwks`] fetches keys; [`api_keys`] knows the services; [`authority`] puts
//! them together and remembers what it verified; [`revoked`] knows what is not believed any more; [`mint`] signs tokens for the command line and the demonstration.

pub mod api_keys;
pub mod authority;
pub mod jwks;
pub mod jwt;
pub mod keys;
pub mod mint;
pub mod revoked;
mod seen;

use bytes::Bytes;
use fama_protocol::{AppId, UnixMs, UserId};
use serde::{Deserialize, Serialize};

pub use authority::Authority;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Acts for itself.
    #[default]
    User,
    /// The app's own backend: acts for any user of its app.
    Service,
    /// A moderator: like a service, and may delete any post.
    Admin,
}

impl Access {
    /// Its name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The tenant.
    pub app: AppId,
    /// The user, or the name of the service.
    pub user: UserId,
    /// What the holder may do.
    pub access: Access,
    /// When it ends.
    pub expires_at: UnixMs,
    /// From when on it is good.
    pub not_before: Option<UnixMs>,
    /// When it was issued.
    pub issued_at: Option<UnixMs>,
    /// Names the token, for revocation.
    pub jti: Option<String>,
    /// JSON that is shown in presence.
    pub info: Option<Bytes>,
    /// The channel that a subscription token is for.
    pub channel: Option<String>,
}

/// Why a caller is not believed. The texts tell a developer what to mend and an attacker nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither token nor key.
    #[error("send a token as `Authorization: Bearer …`, or an API key as `X-API-Key`")]
    Missing,
    /// Not a token that we read.
    #[error("the token is malformed")]
    Malformed,
    /// No key of ours fits: unknown key id, or an algorithm that no key has.
    #[error("the token is not signed with a key that is known here")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iss` is not ours.
    #[error("the token was issued by somebody else")]
    Issuer,
    /// `aud` is not us.
    #[error("the token is for somebody else")]
    Audience,
    /// The API key is unknown.
    #[error("the API key is unknown")]
    ApiKey,
    /// An operator revoked it, or all of its user's.
    #[error("the token was revoked: sign in again")]
    Revoked,
    /// The keys could not be fetched yet.
    #[error("the keys that verify tokens could not be fetched yet")]
    KeysUnavailable,
}
