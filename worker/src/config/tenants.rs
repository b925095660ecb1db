//! Lists of broker users in settings.

use std::collections::{BTreeMap, BTreeSet};

use sandfleet_common::{Job, validate_tenant};

use super::kind::{Form, Typed};

/// The longest name that AMQP lets a user have in a message.
const MAX_USER_BYTES: usize = 255;

/// Which tenants each broker user may speak for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantUsers(BTreeMap<String, BTreeSet<String>>);

impl TenantUsers {
    /// Whether a job of `tenant` is really the tenant's: the broker vouches for `user`, and that one may speak for it.
    fn prove(&self, user: Option<&str>, tenant: &str) -> bool {
        user.and_then(|user| self.0.get(user)).is_some_and(|tenants| tenants.contains(tenant))
    }

    /// Whether the tenant of a job that `user` submitted is proven; nothing if it names none.
    pub fn prove_of(&self, user: Option<&str>, job: &Job) -> Option<bool> {
        job.tenant.as_deref().map(|tenant| self.prove(user, tenant))
    }

    /// The account on which a job goes: that of its tenant, unless that would have to be proven and isn't.
    pub fn account<'a>(&self, tenant: Option<&'a str>, proven: Option<bool>) -> &'a str {
        match tenant {
            None => "(none)",
            Some(_) if proven == Some(false) && !self.is_empty() => "(unproven)",
            Some(tenant) => tenant,
        }
    }

    /// Whether no user may speak for a tenant.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `user` may speak for one.
    pub(super) fn knows(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }
}

impl Typed for TenantUsers {
    fn typed(text: &str) -> Option<Self> {
        let mut users = BTreeMap::<_, BTreeSet<_>>::new();
        for pair in parts(text) {
            let (user, tenant) = pair.split_once('=')?;
            if !is_user(user) || validate_tenant(tenant).is_err() {
                return None;
            }
            users.entry(user.to_owned()).or_default().insert(tenant.to_owned());
        }
        Some(Self(users))
    }
}

/// Broker users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserNames(pub BTreeSet<String>);

impl Typed for UserNames {
    fn typed(text: &str) -> Option<Self> {
        let names: BTreeSet<_> = parts(text).map(str::to_owned).collect();
        names.iter().all(|name| is_user(name)).then_some(Self(names))
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn is_user(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && c != '=' && c != ',';
    (1..=MAX_USER_BYTES).contains(&name.len()) && name.chars().all(plain)
}

pub(super) const TENANT_USERS: Form = Form {
    allowed: "pairs user=tenant separated by commas, such as sandfleet-acme.1=acme,sandfleet-shop.1=shop",
    check: |text| match TenantUsers::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no list of such pairs".into()),
    },
};

pub(super) const USER_NAMES: Form = Form {
    allowed: "users of the broker separated by commas, such as sandfleet-worker.1,sandfleet-worker.2",
    check: |text| match UserNames::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no list of users".into()),
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_proven_by_a_user_that_may_speak_for_it() {
        let users = TenantUsers::typed("a.1=acme, a.2=acme,b=beta,b=shop").expect("a list");
        for (user, tenant, is_proven) in [
            (Some("a.1"), "acme", true),
            (Some("a.2"), "acme", true),
            (Some("b"), "shop", true),
            (Some("a.1"), "beta", false),
            (Some("c"), "acme", false),
            (None, "acme", false),
        ] {
            assert_eq!(users.prove(user, tenant), is_proven, "{user:?} {tenant}");
        }
        assert!(!TenantUsers::default().prove(Some("acme"), "acme"));
        assert_eq!(users.account(Some("acme"), Some(true)), "acme");
        assert_eq!(users.account(Some("acme"), Some(false)), "(unproven)");
        assert_eq!(users.account(None, None), "(none)");
        assert_eq!(TenantUsers::default().account(Some("acme"), Some(false)), "acme");
        for wrong in ["acme", "=acme", "a=", "a=b c", "a b=c"] {
            assert_eq!(TenantUsers::typed(wrong), None, "{wrong}");
        }
    }
}
