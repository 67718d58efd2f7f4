//! The rows of the matrix.

use fama_tests::keys::{Signer, base64, token_of};
use fama_tests::token::{SECRET, now_s};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://id.example";
pub const AUDIENCE: &str = "fama";

/// What must come of a token.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    Good,
    Refused,
    Expired,
    TooLong,
}

use Outcome::{Expired, Good, Refused, TooLong};

pub struct Row {
    pub name: String,
    pub token: String,
    pub outcome: Outcome,
}

fn row(name: impl Into<String>, token: String, outcome: Outcome) -> Row {
    Row { name: name.into(), token, outcome }
}

pub fn claims() -> Value {
    json!({"sub": "alice", "exp": now_s() + 600, "iss": ISSUER, "aud": AUDIENCE})
}

pub fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("claims").remove(key);
    claims
}

/// The claims as text, with one replaced or added as it is written.
fn text_with(key: &str, value: &str) -> String {
    let rest = without(key).to_string();
    format!("{{{},\"{key}\":{value}}}", &rest[1..rest.len() - 1])
}

/// Who signs, and who does not.
pub struct Keys {
    secret: Signer,
    rsa: Signer,
    ec: Signer,
    ed: Signer,
    pub foreign: Signer,
}

impl Keys {
    pub fn new() -> Self {
        let secret = Signer::secret(SECRET);
        Self { secret, rsa: Signer::rsa(), ec: Signer::ec(), ed: Signer::ed(), foreign: Signer::ec() }
    }

    /// What is published: an unknown kind and a secret among it, which are passed over.
    pub fn set(&self) -> Vec<Value> {
        vec![
            json!({"kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "AAAA"}),
            Signer::secret("a secret that was published by mistake").jwk(Some("oct")),
            self.rsa.jwk(Some("rs")),
            self.ec.jwk(Some("es")),
            self.ed.jwk(Some("ed")),
        ]
    }

    pub fn rows(&self, lure: &str) -> Vec<Row> {
        let mut rows = self.good();
        rows.extend(self.algorithms());
        rows.extend(self.confusion());
        rows.extend(self.key_ids());
        rows.extend(self.brought_along(lure));
        rows.extend(self.missing());
        rows.extend(self.times());
        rows.extend(self.subjects());
        rows.extend(self.signatures());
        rows
    }

    fn hs(&self, claims: &Value) -> String {
        self.secret.token(None, claims)
    }

    fn good(&self) -> Vec<Row> {
        let claims = claims();
        vec![
            row("HS256", self.hs(&claims), Good),
            row("RS256 of the set", self.rsa.token(Some("rs"), &claims), Good),
            row("ES256 of the set", self.ec.token(Some("es"), &claims), Good),
            row("EdDSA of the set", self.ed.token(Some("ed"), &claims), Good),
            row("without an id, one key of the kind", self.ec.token(None, &claims), Good),
            row("a secret has no id", self.secret.token(Some("../../dev/null"), &claims), Good),
            row("among several audiences", self.hs(&with("aud", json!(["other", AUDIENCE]))), Good),
            row("unknown claims", self.hs(&with("https://other.example/x", json!({"a": [1]}))), Good),
            row("an end with a fraction", self.hs(&with("exp", json!(1e10 + 0.5))), Good),
        ]
    }

    fn algorithms(&self) -> Vec<Row> {
        let (claims, mut rows) = (claims(), Vec::new());
        for none in ["none", "None", "nOnE", "NONE", "", "null"] {
            let header = json!({ "alg": none });
            let empty = token_of(&header.to_string(), &claims.to_string(), |_| Vec::new());
            rows.push(row(format!("J1: alg {none:?}, unsigned"), empty, Refused));
            rows.push(row(
                format!("J1: alg {none:?}, signed"),
                self.secret.token_with(&header, &claims),
                Refused,
            ));
        }
        for header in
            [json!({}), json!({"alg": null}), json!({"alg": ["HS256"]}), json!({"alg": 256}), json!("HS256")]
        {
            rows.push(row(format!("J1: header {header}"), self.secret.token_with(&header, &claims), Refused));
        }
        for other in ["hs256", "HS384", "HS512", "RS512", "PS256", "ES384", "Ed25519", "HS256 "] {
            let header = json!({ "alg": other });
            rows.push(row(format!("J1: alg {other}"), self.secret.token_with(&header, &claims), Refused));
        }
        let twice = r#"{"alg":"none","alg":"HS256"}"#;
        let twice = token_of(twice, &claims.to_string(), |message| self.secret.sign(message));
        rows.push(row("J1: alg twice", twice, Refused));
        rows
    }

    fn confusion(&self) -> Vec<Row> {
        let (claims, mut rows) = (claims(), Vec::new());
        for (id, key) in [("rs", &self.rsa), ("es", &self.ec), ("ed", &self.ed)] {
            for (form, text) in [
                ("PEM", key.pem().into_bytes()),
                ("DER", key.der()),
                ("JWK", key.jwk(Some(id)).to_string().into()),
            ] {
                let token = Signer::secret(text).token(Some(id), &claims);
                rows.push(row(format!("J2: HS256 with the {form} of {id}"), token, Refused));
            }
            let header = json!({"alg": key.algorithm(), "kid": id});
            rows.push(row(
                format!("J2: {id} signed with the secret"),
                self.secret.token_with(&header, &claims),
                Refused,
            ));
        }
        let header = json!({"alg": "HS256", "kid": "oct"});
        let published = Signer::secret("a secret that was published by mistake");
        rows.push(row("J2: a published secret", published.token_with(&header, &claims), Refused));
        let header = json!({"alg": "RS256", "kid": "es"});
        rows.push(row("J2: another key's id", self.rsa.token_with(&header, &claims), Refused));
        rows
    }

    fn key_ids(&self) -> Vec<Row> {
        let claims = claims();
        let mut rows = Vec::new();
        let long = "k".repeat(4_000);
        for id in ["unknown", "../../dev/null", "' OR 1=1 --", "es\0", "ES", "", " es", &long] {
            rows.push(row(format!("J3: kid {id:.20}"), self.ec.token(Some(id), &claims), Refused));
        }
        for id in [json!(1), json!(["es"]), json!({"es": 1})] {
            let header = json!({"alg": "ES256", "kid": id});
            rows.push(row(format!("J3: kid {id}"), self.ec.token_with(&header, &claims), Refused));
        }
        rows.push(row("J3: somebody else's key", self.foreign.token(Some("es"), &claims), Refused));
        rows
    }

    fn brought_along(&self, lure: &str) -> Vec<Row> {
        let (claims, jwk) = (claims(), self.foreign.jwk(Some("foreign")));
        let offers = [
            ("jku", json!(lure)),
            ("x5u", json!(lure)),
            ("jwk", jwk),
            ("x5c", json!(["AAAA"])),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
        ];
        let mut rows = Vec::new();
        for (name, value) in offers {
            let mut header = json!({"alg": "ES256", "kid": "foreign"});
            header[name] = value.clone();
            rows.push(row(
                format!("J4: {name}, the lure's key"),
                self.foreign.token_with(&header, &claims),
                Refused,
            ));
            header["kid"] = json!("es");
            rows.push(row(format!("J4: {name}, our key"), self.ec.token_with(&header, &claims), Refused));
        }
        rows
    }

    fn missing(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = ["exp", "sub", "iss", "aud"]
            .map(|claim| row(format!("J5: no {claim}"), self.hs(&without(claim)), Refused))
            .into();
        let wrong = [
            ("aud", json!("other")),
            ("aud", json!(["other", "fama2"])),
            ("aud", json!([])),
            ("aud", json!(5)),
            ("aud", json!({"fama": 1})),
            ("aud", Value::Null),
            ("iss", json!("https://evil.example")),
            ("iss", json!("https://id.example/")),
            ("iss", json!([ISSUER])),
            ("sub", json!(7)),
            ("sub", Value::Null),
            ("exp", Value::Null),
            ("role", json!("root")),
            ("role", json!(["admin"])),
            ("app", json!("")),
            ("app", json!("a/b")),
            ("channel", json!("news:all")),
        ];
        rows.extend(wrong.map(|(claim, value)| {
            row(format!("J5: {claim} {value}"), self.hs(&with(claim, value)), Refused)
        }));
        rows
    }

    fn times(&self) -> Vec<Row> {
        let now = now_s();
        let mut rows = Vec::new();
        let written = [
            "\"9999999999\"",
            "1e300",
            "-1",
            "9223372036854775808",
            "18446744073709551616",
            "1e-400",
            "true",
            "[9999999999]",
        ];
        for exp in written {
            let token = token_of(r#"{"alg":"HS256"}"#, &text_with("exp", exp), |m| self.secret.sign(m));
            rows.push(row(format!("J6: exp {exp}"), token, if exp == "1e-400" { Expired } else { Refused }));
        }
        for (claim, value) in [("exp", "1"), ("sub", "\"mallory\""), ("aud", "\"other\"")] {
            let text = claims().to_string();
            let twice = format!("{{\"{claim}\":{value},{}", &text[1..]);
            let token = token_of(r#"{"alg":"HS256"}"#, &twice, |m| self.secret.sign(m));
            rows.push(row(format!("J6: {claim} twice"), token, Refused));
        }
        for (claim, value, outcome) in [
            ("nbf", json!(now + 60), Refused),
            ("nbf", json!("soon"), Refused),
            ("nbf", json!(now - 60), Good),
            ("iat", json!(now + 60), Refused),
            ("iat", json!("now"), Refused),
            ("iat", json!(now), Good),
        ] {
            rows.push(row(format!("J7: {claim} {value}"), self.hs(&with(claim, value)), outcome));
        }
        for (late, outcome) in [(30, Expired), (7, Expired), (1, Good)] {
            rows.push(row(
                format!("J8: {late} s after the end"),
                self.hs(&with("exp", json!(now - late))),
                outcome,
            ));
        }
        rows
    }

    fn subjects(&self) -> Vec<Row> {
        let long = "a".repeat(5_000);
        let subjects = [
            "",
            " ",
            "*",
            ">",
            "{}",
            "a b",
            "a\u{0}",
            "a\r\nb",
            "é",
            "a/b",
            "a#b",
            "$SYS",
            "a,b",
            &"a".repeat(65),
            &long,
        ];
        let mut rows: Vec<Row> = subjects
            .iter()
            .map(|sub| row(format!("J9: sub {sub:.20?}"), self.hs(&with("sub", json!(sub))), Refused))
            .collect();
        rows.push(row("J9: sub of 64", self.hs(&with("sub", json!("a".repeat(64)))), Good));
        rows.push(row("J9: 10 kB", self.hs(&with("x", json!("x".repeat(10_000)))), Refused));
        rows.push(row("J9: 1 MB", self.hs(&with("x", json!("x".repeat(1_000_000)))), TooLong));
        let deep = format!("{}{}", "[".repeat(2_500), "]".repeat(2_500));
        for (claim, outcome) in [("unknown", Good), ("info", Refused), ("aud", Refused)] {
            let token = token_of(r#"{"alg":"HS256"}"#, &text_with(claim, &deep), |m| self.secret.sign(m));
            rows.push(row(format!("J9: {claim} nested deeply"), token, outcome));
        }
        rows
    }

    fn signatures(&self) -> Vec<Row> {
        let claims = claims();
        let of = |id: &str, algorithm: &str, signature: &[u8]| {
            let header = json!({"alg": algorithm, "kid": id}).to_string();
            token_of(&header, &claims.to_string(), |_| signature.to_vec())
        };
        let mut rows = vec![
            row("J10: ES256 of zeros", of("es", "ES256", &[0; 64]), Refused),
            row("J10: ES256 of ones", of("es", "ES256", &[255; 64]), Refused),
            row("J10: EdDSA of zeros", of("ed", "EdDSA", &[0; 64]), Refused),
            row("J10: RS256 of zeros", of("rs", "RS256", &[0; 256]), Refused),
        ];
        for (id, key) in [("rs", &self.rsa), ("es", &self.ec), ("ed", &self.ed), ("hs", &self.secret)] {
            let good = key.token(Some(id), &claims);
            let (message, signature) = good.rsplit_once('.').expect("three parts");
            let half = &signature[..signature.len() / 2];
            let other = with("sub", json!("bob")).to_string();
            let header = message.split('.').next().unwrap_or_default();
            for (what, token) in [
                ("no signature", format!("{message}.")),
                ("half a signature", format!("{message}.{half}")),
                ("a longer signature", format!("{good}AAAA")),
                ("padded", format!("{good}=")),
                ("another subject", format!("{header}.{}.{signature}", base64(other))),
                ("two parts", message.to_owned()),
                ("four parts", format!("{good}.{signature}")),
            ] {
                rows.push(row(format!("J10: {id}, {what}"), token, Refused));
            }
        }
        rows
    }
}
