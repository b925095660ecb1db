//! Which system calls a job may make: `seccomp.json`, one list for every backend.
//!
//! Docker is sent [`Profile::docker_json`]; the native backend compiles the same profile with
//! `native::filter::compile`.

use std::collections::BTreeMap;

use sandfleet_common::Isolation;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const EMBEDDED: &str = include_str!("seccomp.json");

/// `ENOSYS`, the same number on both architectures: what a kernel says of a call it doesn't have.
pub const ENOSYS: u16 = 38;

/// The kernel cuts larger error numbers down to this.
const LARGEST_ERRNO: u16 = 4095;

/// A list of system calls in Docker's profile format, refusing what it doesn't name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    #[serde(skip_serializing)]
    comment: String,
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

/// System calls of one fate, with the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    #[serde(skip_serializing)]
    comment: String,
    names: Vec<String>,
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
}

/// What one argument of a system call must be for a rule to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The kernel carries it out.
    Allow,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        let profile: Self = serde_json::from_str(json)?;
        profile.check()?;
        Ok(profile)
    }

    /// The profile as Docker's API takes it, after `seccomp=`, in `SecurityOpt`.
    ///
    /// Comments stay behind, for the text is stored with every container. So do the refusals that
    /// are the default anyway: libseccomp takes a rule that repeats the default as an error.
    ///
    /// gVisor answers every refused call with EPERM, whatever error the profile names, and C
    /// libraries take that from clone3 to mean that no thread can be made. So clone3 is left to
    /// gVisor, whose namespaces exist inside of its own kernel only.
    pub fn docker_json(&self, isolation: Isolation) -> String {
        let mut lowered = self.clone();
        if isolation == Isolation::GVisor {
            for group in &mut lowered.syscalls {
                if group.names == ["clone3"] {
                    (group.action, group.errno_ret) = (Action::Allow, None);
                }
            }
        }
        let default = Answer::Errno(self.default_errno_ret);
        lowered.syscalls.retain(|group| group.answer() != default);
        serde_json::to_string(&lowered).expect("numbers, strings and lists always make JSON")
    }

    /// What a call which no rule holds for is answered with.
    pub fn default_answer(&self) -> Answer {
        Answer::Errno(self.default_errno_ret)
    }

    /// The rules of each system call of `architecture` that the profile names, by number.
    ///
    /// The first rule that holds decides; if none does, [`Profile::default_answer`].
    pub fn rules(&self, architecture: Architecture) -> BTreeMap<u32, Vec<Rule>> {
        let mut rules = BTreeMap::<u32, Vec<Rule>>::new();
        for group in &self.syscalls {
            // A name that only the other architecture has is not for this one.
            for number in group.names.iter().filter_map(|name| architecture.number(name)) {
                let rule = Rule { conditions: group.args.clone(), answer: group.answer() };
                rules.entry(number).or_default().push(rule);
            }
        }
        rules
    }

    /// Whether it has rules for `architecture`.
    pub fn covers(&self, architecture: Architecture) -> bool {
        self.arch_map.iter().any(|native| native.architecture == architecture)
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.default_action != Action::Errno || !is_errno(self.default_errno_ret) {
            return Err(ProfileError::DefaultAllows);
        }
        for (index, native) in self.arch_map.iter().enumerate() {
            let again = self.arch_map[..index].iter();
            if !native.sub_architectures.is_empty()
                || again.clone().any(|other| other.architecture == native.architecture)
            {
                return Err(ProfileError::ForeignCallingConvention);
            }
        }
        for group in &self.syscalls {
            group.check()?;
        }
        self.check_names()
    }

    /// A call has either one rule without conditions or any number with some: libseccomp lets a
    /// rule without conditions swallow all others, whatever their order.
    fn check_names(&self) -> Result<(), ProfileError> {
        let mut conditional = BTreeMap::<&str, Vec<&[Condition]>>::new();
        for group in &self.syscalls {
            for name in &group.names {
                let known = [Architecture::X86_64, Architecture::Aarch64];
                if !known.iter().any(|architecture| architecture.number(name).is_some()) {
                    return Err(ProfileError::UnknownSyscall(name.clone()));
                }
                let others = conditional.entry(name).or_default();
                let swallows = |args: &[Condition]| args.is_empty() || args == group.args;
                if !others.is_empty()
                    && (group.args.is_empty() || others.iter().any(|args| swallows(args)))
                {
                    return Err(ProfileError::Contradiction(name.clone()));
                }
                others.push(&group.args);
            }
        }
        Ok(())
    }
}

impl Group {
    fn answer(&self) -> Answer {
        match (self.action, self.errno_ret) {
            (Action::Allow, _) => Answer::Allow,
            (Action::Errno, errno) => Answer::Errno(errno.unwrap_or_default()),
        }
    }

    fn check(&self) -> Result<(), ProfileError> {
        let fault = |fault| ProfileError::Group { comment: self.comment.clone(), fault };
        if self.comment.is_empty() {
            return Err(fault("gives no reason"));
        }
        match (self.action, self.errno_ret) {
            (Action::Allow, None) => {}
            (Action::Errno, Some(errno)) if is_errno(errno) => {}
            _ => return Err(fault("needs an errnoRet to refuse, and none to allow")),
        }
        for (index, condition) in self.args.iter().enumerate() {
            if condition.index > 5 {
                return Err(fault("looks at an argument past the sixth"));
            }
            // runc turns two conditions on one argument into two rules, of which either will do.
            if self.args[..index].iter().any(|other| other.index == condition.index) {
                return Err(fault("looks at one argument twice"));
            }
            let stray = match condition.comparison {
                Comparison::MaskedEqual => condition.value_two & !condition.value,
                _ => condition.value_two,
            };
            if stray != 0 {
                return Err(fault("has a valueTwo that can't be met or means nothing"));
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

/// Zero would tell the program that the call went well.
fn is_errno(number: u16) -> bool {
    (1..=LARGEST_ERRNO).contains(&number)
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests;
