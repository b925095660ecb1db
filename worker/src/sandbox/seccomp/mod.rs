//! Which system calls a job may make: `seccomp.json`, one list for every backend.
//!
//! Docker is sent [`Profile::docker_json`]; the native backend compiles the same profile with
//! `native::filter::compile`.

mod architecture;
mod docker;
mod error;
mod group;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    architecture::{Architecture, ENOSYS},
    error::ProfileError,
    rule::{Answer, Comparison, Condition, Rule},
};
use serde::{Deserialize, Serialize};

use self::{
    group::{Action, Group, is_errno},
    rule::Entry,
};

const EMBEDDED: &str = include_str!("../seccomp.json");

/// A list of system calls that refuses what it doesn't name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    default_errno: u16,
    architectures: Vec<Architecture>,
    entries: Vec<Entry>,
}

/// The profile as it is written: Docker's format and what [`Group`] has beside it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Source {
    #[serde(rename = "comment")]
    _comment: String,
    default_action: Action,
    default_errno_ret: u16,
    arch_map: Vec<NativeArchitecture>,
    syscalls: Vec<Group>,
}

/// An architecture of the profile; a second calling convention beside it would be a hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NativeArchitecture {
    architecture: Architecture,
    sub_architectures: Vec<String>,
}

impl Profile {
    /// The profile that this program was built with.
    pub fn embedded() -> Result<Self, ProfileError> {
        Self::parse(EMBEDDED)
    }

    /// Reads a profile and checks that every backend takes it to mean the same.
    pub fn parse(json: &str) -> Result<Self, ProfileError> {
        let source: Source = serde_json::from_str(json)?;
        if source.default_action != Action::Errno || !is_errno(source.default_errno_ret) {
            return Err(ProfileError::DefaultAllows);
        }
        let mut architectures = Vec::new();
        for native in source.arch_map {
            if !native.sub_architectures.is_empty() || architectures.contains(&native.architecture)
            {
                return Err(ProfileError::ForeignCallingConvention);
            }
            architectures.push(native.architecture);
        }
        let mut entries = Vec::new();
        for group in source.syscalls {
            entries.extend(group.entries()?);
        }
        let profile = Self { default_errno: source.default_errno_ret, architectures, entries };
        profile.check_names()?;
        Ok(profile)
    }

    /// All that is enforced, in one order and without comments: two profiles that say the same in
    /// other words or in another order have the same text.
    pub fn canonical(&self) -> String {
        let mut calls = BTreeMap::<&str, BTreeSet<(Vec<Condition>, Answer, bool)>>::new();
        for Entry { names, conditions, answer, gvisor_allows } in &self.entries {
            let mut conditions = conditions.clone();
            conditions.sort();
            for name in names {
                let rule = (conditions.clone(), *answer, *gvisor_allows);
                calls.entry(name).or_default().insert(rule);
            }
        }
        let architectures: BTreeSet<_> = self.architectures.iter().collect();
        serde_json::to_string(&(self.default_errno, architectures, calls))
            .expect("numbers, strings and lists always make JSON")
    }

    /// What a call which no rule holds for is answered with.
    pub fn default_answer(&self) -> Answer {
        Answer::Errno(self.default_errno)
    }

    /// The rules of each system call of `architecture` that the profile names, by number.
    ///
    /// The first rule that holds decides; if none does, [`Profile::default_answer`].
    pub fn rules(&self, architecture: Architecture) -> BTreeMap<u32, Vec<Rule>> {
        let mut rules = BTreeMap::<u32, Vec<Rule>>::new();
        for entry in &self.entries {
            // A name that only the other architecture has is not for this one.
            for number in entry.names.iter().filter_map(|name| architecture.number(name)) {
                let rule = Rule { conditions: entry.conditions.clone(), answer: entry.answer };
                rules.entry(number).or_default().push(rule);
            }
        }
        rules
    }

    /// Whether it has rules for `architecture`.
    pub fn covers(&self, architecture: Architecture) -> bool {
        self.architectures.contains(&architecture)
    }

    /// A call has either one rule without conditions or any number with some: libseccomp lets a
    /// rule without conditions swallow all others, whatever their order.
    fn check_names(&self) -> Result<(), ProfileError> {
        let mut conditional = BTreeMap::<&str, Vec<&[Condition]>>::new();
        for entry in &self.entries {
            for name in &entry.names {
                let known = [Architecture::X86_64, Architecture::Aarch64];
                if !known.iter().any(|architecture| architecture.number(name).is_some()) {
                    return Err(ProfileError::UnknownSyscall(name.clone()));
                }
                let others = conditional.entry(name).or_default();
                let ours = &entry.conditions[..];
                let swallows = |args: &[Condition]| args.is_empty() || args == ours;
                if !others.is_empty()
                    && (ours.is_empty() || others.iter().any(|args| swallows(args)))
                {
                    return Err(ProfileError::Contradiction(name.clone()));
                }
                others.push(ours);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
