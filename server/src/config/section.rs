//! What a section of the configuration knows about itself: its keys, their documentation, and what they accept. The
//! documentation is written once, as rustdoc on the field, and is what `fama print-config` prints.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a key accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, not negative.
    Integer,
    /// Text.
    Text,
    /// A list of texts; comma-separated in the environment.
    List,
    /// Text that no output may show; also taken from a file.
    Secret,
}

impl Kind {
    /// For messages: "`auth.hmac_secret` must be text".
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Integer => "a whole number, not negative",
            Self::Text | Self::Secret => "text",
            Self::List => "a list of texts",
        }
    }
}

/// A type that a key can have.
pub trait ConfigValue {
    /// What is accepted.
    const KIND: Kind;
    /// Whether the key may be unset.
    const OPTIONAL: bool = false;
}

macro_rules! kinds {
    ($($kind:ident: $($ty:ty),+;)+) => {
        $($(impl ConfigValue for $ty { const KIND: Kind = Kind::$kind; })+)+
    };
}
kinds! {
    Bool: bool;
    Integer: u16, u32, u64, usize;
    Text: String, PathBuf, SocketAddr, super::Bus, super::PresenceVisibility, super::LogFormat,
        super::Recovery, super::Permission;
    List: Vec<String>, Vec<crate::role::Role>;
    Secret: Secret;
}

impl<T: ConfigValue> ConfigValue for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;
}

/// One key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name within the section.
    pub key: &'static str,
    /// Its documentation, line by line.
    pub docs: &'static [&'static str],
    /// What it accepts.
    pub kind: Kind,
    /// Whether it may be unset.
    pub optional: bool,
}

/// A section: a table of the file.
pub trait Section: Default + Serialize {
    /// Its documentation, line by line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order in which they are printed.
    const FIELDS: &'static [Field];
}

/// Declares a section: a struct with a default for each key, whose rustdoc is the documentation of the keys.
macro_rules! section {
    ($(#[doc = $about:literal])* pub struct $name:ident {
        $($(#[doc = $doc:literal])* $field:ident: $ty:ty = $default:expr,)*
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::section::Section for $name {
            const ABOUT: &'static [&'static str] = &[$($about),*];
            const FIELDS: &'static [$crate::config::section::Field] = &[$($crate::config::section::Field {
                key: stringify!($field),
                docs: &[$($doc),*],
                kind: <$ty as $crate::config::section::ConfigValue>::KIND,
                optional: <$ty as $crate::config::section::ConfigValue>::OPTIONAL,
            },)*];
        }
    };
}
pub(super) use section;

/// Text that is never printed: not by `Debug`, not by serialisation, not in logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}
