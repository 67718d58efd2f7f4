//! What a process does. Roles are data: the supervisor starts the tasks of those that are asked for.

use serde::{Deserialize, Serialize};

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds sockets.
    Gateway,
    /// Answers HTTP requests.
    Api,
    /// Carries posts into feeds and to sockets.
    Fanout,
    /// Sweeps up what others left undone.
    Janitor,
}

impl Role {
    /// All of them, the default.
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Api, Self::Fanout, Self::Janitor];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Api => "api",
            Self::Fanout => "fanout",
            Self::Janitor => "janitor",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("there is no role `{text}`: gateway, api, fanout or janitor"))
    }
}

/// Refuses roles that can't work alone: in-process backends are shared with nobody.
pub fn check(roles: &[Role], in_process: bool) -> Result<(), String> {
    let missing: Vec<_> =
        Role::ALL.into_iter().filter(|role| !roles.contains(role)).map(Role::name).collect();
    if !in_process || missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "with the embedded store one process does everything, and nobody else would do {}: leave out `server.roles` and `--roles`, or set `cluster.scylla`, `cluster.redis` and `cluster.nats`",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_roles_need_a_cluster() {
        assert!(check(&Role::ALL, true).is_ok());
        assert!(check(&[Role::Gateway], false).is_ok());
        let why = check(&[Role::Gateway, Role::Api], true).unwrap_err();
        assert!(why.contains("nobody else would do fanout, janitor") && why.contains("leave out"), "{why}");
    }
}
