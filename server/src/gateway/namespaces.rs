//! Rules for the app's own channels. Pure: who may do what, and how a channel's history is kept.

use std::collections::BTreeMap;

use fama_fanout::live::log::LogLimits;
use fama_protocol::{Channel, ChannelKind, UserId};

use crate::config::namespaces::RESERVED;
use crate::config::{ChannelRules, Namespace, Permission, Recovery};

/// Rules of one namespace, as configured.
#[derive(Debug, Clone, Default)]
pub struct Rules(ChannelRules);

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// Two of the same name, or a name that means something else.
    #[error("namespaces: the name {0:?} is empty, reserved, has a colon, or is there twice")]
    Name(String),
    /// Recovery without anything to recover from.
    #[error("namespaces: {0:?} has recovery but no history_size")]
    Recovery(String),
    /// A key for something that this version does not do.
    #[error("namespaces: {name:?} sets {key}, which this version does not have")]
    NotAvailable {
        /// The namespace.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// Publishing has no tokens.
    #[error("namespaces: {0:?} has publish = \"token\"; use anyone, user or none")]
    PublishToken(String),
}

/// The rules of all namespaces, checked.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    by_name: BTreeMap<String, Rules>,
    bare: Rules,
}

impl Namespaces {
    /// `bare` is for channels without a namespace.
    pub fn new(named: &[Namespace], bare: &ChannelRules) -> Result<Self, NamespaceError> {
        let mut by_name = BTreeMap::new();
        check("", bare)?;
        for Namespace { name, rules } in named {
            check(name, rules)?;
            let reserved = name.is_empty() || RESERVED.contains(&&**name) || name.contains(':');
            if reserved || by_name.insert(name.clone(), Rules(rules.clone())).is_some() {
                return Err(NamespaceError::Name(name.clone()));
            }
        }
        Ok(Self { by_name, bare: Rules(bare.clone()) })
    }

    /// The rules for an app's own channel. `None`: no such namespace, or not a channel of the app's.
    pub fn of(&self, channel: &Channel) -> Option<&Rules> {
        match channel.kind() {
            ChannelKind::App { namespace: Some(name), .. } => self.by_name.get(name),
            ChannelKind::App { namespace: None, .. } => Some(&self.bare),
            _ => None,
        }
    }
}

fn check(name: &str, rules: &ChannelRules) -> Result<(), NamespaceError> {
    if rules.history_size == 0 && (rules.recovery != Recovery::None || rules.force_recovery) {
        return Err(NamespaceError::Recovery(name.to_owned()));
    }
    if rules.publish == Permission::Token {
        return Err(NamespaceError::PublishToken(name.to_owned()));
    }
    let missing = [
        ("allowed_delta_types", !rules.allowed_delta_types.is_empty()),
        ("delta_publish", rules.delta_publish),
    ];
    match missing.into_iter().find(|(_, set)| *set) {
        Some((key, _)) => Err(NamespaceError::NotAvailable { name: name.to_owned(), key }),
        None => Ok(()),
    }
}

/// What a client that wants to subscribe has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more.
    Allowed,
    /// A token for the channel.
    NeedsToken,
    /// It may not.
    Denied,
}

impl Rules {
    /// What a subscriber who comes back is given.
    pub fn recovery(&self) -> Recovery {
        if self.0.recovery == Recovery::None && self.0.force_recovery {
            Recovery::Stream
        } else {
            self.0.recovery
        }
    }

    /// Whether subscribers are told positions.
    pub fn positioned(&self) -> bool {
        self.0.history_size > 0 && (self.0.force_positioning || self.recovery() != Recovery::None)
    }

    /// How the channel's log is kept; `None`: there is none.
    pub fn limits(&self) -> Option<LogLimits> {
        let ttl_s = if self.0.history_ttl_s == 0 { 300 } else { self.0.history_ttl_s };
        (self.0.history_size > 0).then_some(LogLimits { size: self.0.history_size, ttl_ms: ttl_s * 1000 })
    }

    /// Whether a user may subscribe. Users named behind a `#` in the channel are the only ones that may, and need no token.
    pub fn may_subscribe(&self, channel: &Channel, user: Option<&UserId>) -> Verdict {
        if self.0.subscribe == Permission::None {
            return Verdict::Denied;
        }
        if let Some(mut bound) = channel.bound_users() {
            let named = user.is_some_and(|user| bound.any(|name| name == user.as_str()));
            return if named { Verdict::Allowed } else { Verdict::Denied };
        }
        match (self.0.subscribe, user) {
            (Permission::Anyone, _) | (Permission::User, Some(_)) => Verdict::Allowed,
            (Permission::Token, _) => Verdict::NeedsToken,
            _ => Verdict::Denied,
        }
    }

    /// Whether a client may publish.
    pub fn may_publish(&self, channel: &Channel, user: Option<&UserId>, subscribed: bool) -> bool {
        if subscribed && self.0.allow_publish_for_subscriber {
            return true;
        }
        if let Some(mut bound) = channel.bound_users()
            && !user.is_some_and(|user| bound.any(|name| name == user.as_str()))
        {
            return false;
        }
        match self.0.publish {
            Permission::Anyone => true,
            Permission::User => user.is_some(),
            Permission::Token | Permission::None => false,
        }
    }

    /// Whether it is kept who is there: to be asked for, or to be told.
    pub fn keeps_members(&self) -> bool {
        self.0.presence || self.0.join_leave
    }

    /// Whether those who are there are told who comes and goes.
    pub fn tells_members(&self) -> bool {
        self.0.join_leave
    }

    /// Whether it can be asked who is there.
    pub fn lists_members(&self) -> bool {
        self.0.presence
    }

    /// Whether a client may ask who is there.
    pub fn may_list(&self, subscribed: bool) -> bool {
        subscribed && self.0.allow_presence_for_subscriber
    }

    /// Whether a subscriber is told who comes and goes: all, or those who asked and may know who is there.
    pub fn hears_members(&self, asked: bool, insecure: bool) -> bool {
        let wants = asked && (insecure || self.0.allow_presence_for_subscriber);
        self.0.join_leave && (self.0.force_push_join_leave || wants)
    }

    /// Whether a client may read the history.
    pub fn may_read(&self, subscribed: bool) -> bool {
        subscribed && self.0.allow_history_for_subscriber
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(subscribe: Permission, publish: Permission) -> ChannelRules {
        ChannelRules { subscribe, publish, ..ChannelRules::default() }
    }

    #[test]
    fn who_may_subscribe_and_publish() {
        use Permission::{Anyone, None as Nobody, Token, User};
        let alice = UserId::new("alice").unwrap();
        let channel = |name: &str| Channel::new(name).unwrap();
        let may = |access, name: &str, user| Rules(rules(access, Nobody)).may_subscribe(&channel(name), user);
        assert_eq!(may(Anyone, "chat:x", None), Verdict::Allowed);
        assert_eq!(may(User, "chat:x", None), Verdict::Denied);
        assert_eq!(may(User, "chat:x", Some(&alice)), Verdict::Allowed);
        assert_eq!(may(Token, "chat:x", Some(&alice)), Verdict::NeedsToken);
        assert_eq!(may(Nobody, "chat:x#alice", Some(&alice)), Verdict::Denied);
        assert_eq!(may(Token, "chat:x#bob,alice", Some(&alice)), Verdict::Allowed);
        assert_eq!(may(Anyone, "chat:x#bob", Some(&alice)), Verdict::Denied);
        let publish =
            |access, name: &str, user| Rules(rules(access, access)).may_publish(&channel(name), user, true);
        assert!(publish(Anyone, "chat:x", None) && publish(User, "chat:x", Some(&alice)));
        assert!(!publish(User, "chat:x", None) && !publish(Nobody, "chat:x", Some(&alice)));
        assert!(!publish(Anyone, "chat:x#bob", Some(&alice)));
        let own = Rules(ChannelRules { allow_publish_for_subscriber: true, ..rules(Anyone, Nobody) });
        assert!(
            own.may_publish(&channel("n:x"), None, true) && !own.may_publish(&channel("n:x"), None, false)
        );
    }

    #[test]
    fn who_hears_of_comings_and_goings() {
        let hears = |join_leave, allowed, forced, asked| {
            Rules(ChannelRules {
                join_leave,
                allow_presence_for_subscriber: allowed,
                force_push_join_leave: forced,
                ..ChannelRules::default()
            })
            .hears_members(asked, false)
        };
        assert!(hears(true, true, false, true) && hears(true, false, true, false));
        assert!(!hears(true, true, false, false), "did not ask");
        assert!(!hears(true, false, false, true), "may not know who is there");
        assert!(!hears(false, true, true, true), "is not told to anybody");
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let one = |name: &str, change: fn(&mut ChannelRules)| {
            let mut it = rules(Permission::Anyone, Permission::None);
            change(&mut it);
            let namespace = Namespace { name: name.to_owned(), rules: it };
            Namespaces::new(std::slice::from_ref(&namespace), &ChannelRules::default()).map(|_| namespace)
        };
        let good = one("chat", |_| {}).unwrap();
        assert!(matches!(one("user", |_| {}), Err(NamespaceError::Name(_))));
        assert!(matches!(one("a:b", |_| {}), Err(NamespaceError::Name(_))));
        assert!(matches!(one("chat", |r| r.force_recovery = true), Err(NamespaceError::Recovery(_))));
        assert!(matches!(
            one("chat", |r| r.publish = Permission::Token),
            Err(NamespaceError::PublishToken(_))
        ));
        assert!(matches!(one("chat", |r| r.delta_publish = true), Err(NamespaceError::NotAvailable { .. })));
        let twice = [good.clone(), good];
        assert!(matches!(Namespaces::new(&twice, &ChannelRules::default()), Err(NamespaceError::Name(_))));
    }
}
