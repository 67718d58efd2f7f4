//! Which tokens are not believed any more, in memory: asked for every request and connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use fama_protocol::{AppId, UnixMs, UserId};
use fama_storage::{Revocation, Revoked};

use super::Verified;

/// What was revoked in one tenant.
#[derive(Default)]
struct Tenant {
    /// By `jti`: until when it matters.
    tokens: HashMap<String, UnixMs>,
    users: HashMap<UserId, Cut>,
}

/// A user's tokens issued up to a time are not believed.
#[derive(Clone, Copy)]
struct Cut {
    at: UnixMs,
    until: UnixMs,
}

/// All revocations that matter now.
#[derive(Default)]
pub struct RevokedSet {
    tenants: RwLock<HashMap<AppId, Tenant>>,
    len: AtomicUsize,
}

impl RevokedSet {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one. `false`: nothing new.
    pub fn add(&self, revocation: &Revocation) -> bool {
        let Revocation { at, app, revoked, until } = revocation;
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let tenant = tenants.entry(app.clone()).or_default();
        let (is_new, is_more) = match revoked {
            Revoked::Token(jti) => {
                let kept = tenant.tokens.insert(jti.clone(), *until);
                if let Some(kept) = kept.filter(|kept| kept > until) {
                    tenant.tokens.insert(jti.clone(), kept);
                }
                (kept.is_none(), kept.is_none())
            }
            Revoked::User(user) => {
                let kept = tenant.users.get(user).copied();
                let cut = kept.map_or(Cut { at: *at, until: *until }, |kept| Cut {
                    at: kept.at.max(*at),
                    until: kept.until.max(*until),
                });
                tenant.users.insert(user.clone(), cut);
                (kept.is_none(), kept.is_none_or(|kept| kept.at < *at))
            }
        };
        self.len.fetch_add(usize::from(is_new), Ordering::AcqRel);
        is_more
    }

    /// Whether a token was revoked. One that does not say when it was issued may be older than its user's revocation.
    pub fn holds(&self, token: &Verified) -> bool {
        if self.is_empty() {
            return false;
        }
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let Some(tenant) = tenants.get(&token.app) else { return false };
        token.jti.as_ref().is_some_and(|jti| tenant.tokens.contains_key(jti))
            || tenant.users.get(&token.user).is_some_and(|cut| token.issued_at.is_none_or(|at| at <= cut.at))
    }

    /// Forgets those whose tokens have ended.
    pub fn forget(&self, now: UnixMs) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, tenant| {
            tenant.tokens.retain(|_, until| *until >= now);
            tenant.users.retain(|_, cut| cut.until >= now);
            !tenant.tokens.is_empty() || !tenant.users.is_empty()
        });
        let len = tenants.values().map(|tenant| tenant.tokens.len() + tenant.users.len()).sum();
        self.len.store(len, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Access;

    fn token(app: &str, user: &str, jti: Option<&str>, issued_s: Option<u64>) -> Verified {
        Verified {
            app: AppId::new(app).unwrap(),
            user: UserId::new(user).unwrap(),
            access: Access::User,
            expires_at: UnixMs(1_000_000),
            not_before: None,
            issued_at: issued_s.map(|at| UnixMs(at * 1_000)),
            jti: jti.map(str::to_owned),
            info: None,
            channel: None,
        }
    }

    fn revocation(revoked: Revoked, at_s: u64, until_s: u64) -> Revocation {
        Revocation {
            at: UnixMs(at_s * 1_000),
            app: AppId::new("a").unwrap(),
            revoked,
            until: UnixMs(until_s * 1_000),
        }
    }

    #[test]
    fn tokens_by_name_and_by_their_users_age() {
        let set = RevokedSet::default();
        let user = || Revoked::User(UserId::new("ann").unwrap());
        assert!(set.add(&revocation(Revoked::Token("t1".into()), 10, 100)));
        assert!(!set.add(&revocation(Revoked::Token("t1".into()), 11, 90)), "nothing new");
        assert!(set.add(&revocation(user(), 10, 100)));
        let held = |app, user, jti, issued| set.holds(&token(app, user, jti, issued));
        assert!(held("a", "bob", Some("t1"), Some(50)));
        assert!(!held("b", "bob", Some("t1"), Some(50)), "another tenant's");
        assert!(!held("a", "bob", Some("t2"), Some(5)) && !held("a", "bob", None, None));
        assert!(held("a", "ann", None, Some(10)) && held("a", "ann", Some("t2"), None));
        assert!(!held("a", "ann", None, Some(11)), "issued later");
        assert!(set.add(&revocation(user(), 20, 50)) && !set.add(&revocation(user(), 15, 50)));
        assert!(set.holds(&token("a", "ann", None, Some(20))));
        assert_eq!(set.len(), 2);

        set.forget(UnixMs(100_000));
        assert_eq!(set.len(), 2, "the latest ends count");
        set.forget(UnixMs(100_001));
        assert!(set.is_empty() && !set.holds(&token("a", "ann", Some("t1"), None)));
    }
}
