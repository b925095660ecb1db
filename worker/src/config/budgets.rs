//! What tenants may use in a day.

use std::collections::BTreeMap;

use sandfleet_common::validate_tenant;
use sandfleet_transport::records::Resource;

use super::kind::{Form, Typed};

/// All tenants without a line of their own.
const EACH: &str = "*";
/// The accounts that are no tenant's.
const OTHERS: [&str; 3] = [EACH, "(none)", "(unproven)"];

/// Budgets by tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets(BTreeMap<String, BTreeMap<Resource, u64>>);

impl Budgets {
    /// The budget of an account: what is said of it, and else what is said of each.
    pub fn of(&self, account: &str) -> BTreeMap<Resource, u64> {
        self.0.get(account).or_else(|| self.0.get(EACH)).cloned().unwrap_or_default()
    }
}

/// What a resource is called in settings, and how many of what the store counts one of it is.
pub fn unit(resource: Resource) -> (&'static str, u64) {
    match resource {
        Resource::CpuMs => ("cpu_seconds", 1000),
        Resource::Jobs => ("jobs", 1),
        Resource::Bytes => ("bytes", 1),
    }
}

impl Typed for Budgets {
    fn typed(text: &str) -> Option<Self> {
        let mut budgets = BTreeMap::<_, BTreeMap<_, _>>::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (what, most) = part.split_once('=')?;
            let (account, name) = what.rsplit_once('.')?;
            if !OTHERS.contains(&account) && validate_tenant(account).is_err() {
                return None;
            }
            let resource = Resource::ALL.into_iter().find(|it| unit(*it).0 == name)?;
            let most = most.parse::<u64>().ok()?.checked_mul(unit(resource).1)?;
            budgets.entry(account.to_owned()).or_default().insert(resource, most);
        }
        Some(Self(budgets))
    }
}

pub(super) const BUDGETS: Form = Form {
    allowed: "TENANT.cpu_seconds=N, TENANT.jobs=N or TENANT.bytes=N separated by commas, such as acme.cpu_seconds=3600,*.jobs=10000",
    check: |text| match Budgets::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no list of such budgets".into()),
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_budget_or_that_of_each() {
        let budgets = Budgets::typed("acme.cpu_seconds=2, acme.jobs=3,*.bytes=7,(none).jobs=0");
        let budgets = budgets.expect("a list");
        let acme = BTreeMap::from([(Resource::CpuMs, 2000), (Resource::Jobs, 3)]);
        assert_eq!(budgets.of("acme"), acme);
        assert_eq!(budgets.of("shop"), BTreeMap::from([(Resource::Bytes, 7)]));
        assert_eq!(budgets.of("(none)"), BTreeMap::from([(Resource::Jobs, 0)]));
        assert!(Budgets::default().of("acme").is_empty());
        for wrong in
            ["acme=1", "acme.seconds=1", "acme.jobs=-1", "a b.jobs=1", "acme.jobs", ".jobs=1"]
        {
            assert_eq!(Budgets::typed(wrong), None, "{wrong}");
        }
    }
}
