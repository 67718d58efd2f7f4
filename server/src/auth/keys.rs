//! The keys that verify tokens. Each is pinned to one algorithm; the token's header only chooses among keys.

use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

use super::Refusal;

/// A key.
#[derive(Clone)]
pub struct Key {
    /// Its id, if it has one.
    pub id: Option<String>,
    /// The one algorithm it verifies.
    pub algorithm: Algorithm,
    /// The key itself.
    pub key: DecodingKey,
}

/// Keys, and how they are chosen.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// A set of the keys given.
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key for a token's header: by id where the keys have ids. Keys without an id (a secret or a PEM file of the
    /// configuration) take tokens with any id or none, as long as exactly one has the algorithm; so do keys with ids
    /// for tokens without one.
    pub fn choose(&self, id: Option<&str>, algorithm: &str) -> Result<&Key, Refusal> {
        let fits = |key: &&Key| name(key.algorithm) == algorithm;
        let mut candidates: Vec<&Key> = match id {
            Some(id) => self.keys.iter().filter(|key| key.id.as_deref() == Some(id)).filter(fits).collect(),
            None => self.keys.iter().filter(fits).collect(),
        };
        if candidates.is_empty() && id.is_some() {
            candidates = self.keys.iter().filter(|key| key.id.is_none()).filter(fits).collect();
        }
        match candidates[..] {
            [key] => Ok(key),
            _ => Err(Refusal::UnknownKey),
        }
    }
}

/// The name of an algorithm in headers, for those we take.
pub fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "",
    }
}

/// The key of a shared secret.
pub fn from_secret(secret: &[u8]) -> Key {
    Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }
}

/// The public key of a PEM file; its kind tells the algorithm.
pub fn from_pem_file(path: &Path) -> Result<Key, String> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| format!("`auth.public_key_file`: can't read {shown}: {error}"))?;
    from_pem(&text).ok_or_else(|| {
        format!("`auth.public_key_file`: {shown} has no public key of RSA, P-256 or Ed25519 in PEM")
    })
}

/// The public key of a PEM text.
pub fn from_pem(text: &[u8]) -> Option<Key> {
    let of = |algorithm, key: Result<DecodingKey, _>| {
        key.ok().map(|key: DecodingKey| Key { id: None, algorithm, key })
    };
    of(Algorithm::EdDSA, DecodingKey::from_ed_pem(text))
        .or_else(|| of(Algorithm::ES256, DecodingKey::from_ec_pem(text)).filter(is_p256))
        .or_else(|| of(Algorithm::RS256, DecodingKey::from_rsa_pem(text)))
}

/// Other curves have longer points.
fn is_p256(key: &Key) -> bool {
    matches!(key.key.kind(), DecodingKeyKind::SecretOrDer(point) if point.len() == 65)
}

/// A key of a JSON Web Key Set; `None` for kinds we don't take: secrets, other curves, encryption keys.
pub fn from_jwk(jwk: &Jwk) -> Option<Key> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
}
