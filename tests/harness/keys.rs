//! Keys of every kind that sign tokens, in the forms in which apps publish them; and tokens that no library would make.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// What signs a token.
pub enum Signer {
    /// HS256.
    Secret(Vec<u8>),
    /// RS256.
    Rsa(Box<rsa::KeyPair>),
    /// ES256.
    Ec(Box<EcdsaKeyPair>),
    /// EdDSA.
    Ed(Box<Ed25519KeyPair>),
}

/// Base64 as in tokens.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of whatever parts: `sign` is given `header.claims` and makes the signature's bytes.
pub fn token_of(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = base64(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A public key in PEM.
pub fn pem_of(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

impl Signer {
    /// A shared secret.
    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self::Secret(secret.as_ref().to_vec())
    }

    /// A new RSA key.
    pub fn rsa() -> Self {
        Self::Rsa(Box::new(rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    /// A new P-256 key.
    pub fn ec() -> Self {
        Self::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")))
    }

    /// A new Ed25519 key.
    pub fn ed() -> Self {
        Self::Ed(Box::new(Ed25519KeyPair::generate().expect("a key")))
    }

    /// The name of its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// A signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with the header that such a key's tokens have.
    pub fn token(&self, id: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm(), "typ": "JWT"});
        if let Some(id) = id {
            header["kid"] = json!(id);
        }
        self.token_with(&header, claims)
    }

    /// A token with any header.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        token_of(&header.to_string(), &claims.to_string(), |message| self.sign(message))
    }

    /// A public key of a kind that is not taken, P-384, in PEM.
    pub fn foreign_pem() -> String {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        pem_of(der.as_ref())
    }

    /// The public key in DER.
    pub fn der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Secret(_) => panic!("a secret has no public part"),
            Self::Rsa(pair) => pair.public_key().as_der().expect("DER"),
            Self::Ec(pair) => pair.public_key().as_der().expect("DER"),
            Self::Ed(pair) => pair.public_key().as_der().expect("DER"),
        };
        der.as_ref().to_vec()
    }

    /// The public key in PEM.
    pub fn pem(&self) -> String {
        pem_of(&self.der())
    }

    /// The public key as an entry of a key set; a secret as an `oct` entry, which nobody should publish.
    pub fn jwk(&self, id: Option<&str>) -> Value {
        let mut jwk = match self {
            Self::Secret(secret) => json!({"kty": "oct", "k": base64(secret)}),
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let of = |number: &[u8]| base64(number);
                json!({
                    "kty": "RSA",
                    "n": of(n.big_endian_without_leading_zero()),
                    "e": of(e.big_endian_without_leading_zero())
                })
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..65])})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref())})
            }
        };
        if let Some(id) = id {
            jwk["kid"] = json!(id);
        }
        jwk
    }
}
