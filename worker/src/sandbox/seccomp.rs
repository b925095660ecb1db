//! Which system calls a job may make: `seccomp.json`, one list for every backend.
//!
//! Docker is sent [`Profile::docker_json`]; the native backend compiles the same profile with
//! `native::filter::compile`.

mod docker;
mod group;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::group::{Action, Group, is_errno};

const EMBEDDED: &str = include_str!("seccomp.json");

/// `ENOSYS`, the same number on both architectures: what a kernel says of a call it doesn't have.
pub const ENOSYS: u16 = 38;

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

/// System calls and arguments with one answer, all of whose conditions hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    names: Vec<String>,
    conditions: Vec<Condition>,
    answer: Answer,
    /// Whether it is left to gVisor, which answers every refusal with EPERM and whose kernel's
    /// memory is the container's own.
    gvisor_allows: bool,
}

/// What one argument of a system call must be for a rule to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub index: u8,
    /// How it is compared.
    #[serde(rename = "op")]
    pub comparison: Comparison,
    /// What it is compared with; for [`Comparison::MaskedEqual`] the mask.
    pub value: u64,
    /// What must be left under the mask; zero for all other comparisons.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_two: u64,
}

/// How an argument is compared, as an unsigned number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Comparison {
    /// The argument is the value.
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// The argument is anything but the value.
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    /// The argument is less than the value.
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// The argument is the value or less.
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// The argument is the value or more.
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// The argument is more than the value.
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// The argument's bits under the mask are the second value.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// What a system call is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Answer {
    /// The kernel carries it out.
    Allow,
    /// The kernel does nothing and says that it went well.
    Succeed,
    /// It fails with this error number, and nothing else happens.
    Errno(u16),
}

/// One way in which a system call is answered; it holds when all its conditions do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What its arguments must be; none if they don't matter.
    pub conditions: Vec<Condition>,
    /// What it is answered with.
    pub answer: Answer,
}

/// An architecture whose system calls the profile knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "SCMP_ARCH_X86_64")]
    X86_64,
    /// 64-bit ARM.
    #[serde(rename = "SCMP_ARCH_AARCH64")]
    Aarch64,
}

/// Why a profile is no good.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// It isn't JSON, or not of Docker's format.
    #[error("cannot read the seccomp profile")]
    Format(#[from] serde_json::Error),
    /// The default would let calls through.
    #[error("the seccomp profile's default action is not SCMP_ACT_ERRNO with a valid error number")]
    DefaultAllows,
    /// It lists an architecture twice, or a second calling convention for one.
    #[error("the seccomp profile opens more than the native calling convention")]
    ForeignCallingConvention,
    /// No architecture has a call of this name: a typing error would go unnoticed otherwise.
    #[error("the seccomp profile names {0}, which is no system call")]
    UnknownSyscall(String),
    /// It says of one call that its arguments matter and that they don't, or says a thing twice.
    #[error("the seccomp profile contradicts itself on {0}")]
    Contradiction(String),
    /// A group is not of a form which libseccomp and our compiler both take the same way.
    #[error("the seccomp profile's group \"{comment}\" {fault}")]
    Group {
        /// The group's comment.
        comment: String,
        /// What is wrong with it.
        fault: &'static str,
    },
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

impl Condition {
    /// Whether it holds for a call with these arguments.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments[usize::from(self.index)];
        match self.comparison {
            Comparison::Equal => argument == self.value,
            Comparison::NotEqual => argument != self.value,
            Comparison::Less => argument < self.value,
            Comparison::LessOrEqual => argument <= self.value,
            Comparison::GreaterOrEqual => argument >= self.value,
            Comparison::Greater => argument > self.value,
            Comparison::MaskedEqual => argument & self.value == self.value_two,
        }
    }
}

impl Architecture {
    /// The architecture that this program runs on, if there are rules for it.
    pub fn running() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// What the kernel's audit interface, and so a filter, calls it: `AUDIT_ARCH_…`.
    pub fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The number of the system call of this name, if it has one.
    pub fn number(self, name: &str) -> Option<u32> {
        let number = match self {
            Self::X86_64 => name.parse::<syscalls::x86_64::Sysno>().ok()?.id(),
            Self::Aarch64 => name.parse::<syscalls::aarch64::Sysno>().ok()?.id(),
        };
        u32::try_from(number).ok()
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests;
