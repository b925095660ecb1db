//! What a rule of the profile consists of: calls, conditions on their arguments, an answer.

use serde::{Deserialize, Serialize};

/// System calls and arguments with one answer, all of whose conditions hold at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) names: Vec<String>,
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: Answer,
    /// Whether it is left to gVisor, which answers every refusal with EPERM and whose kernel's
    /// memory is the container's own.
    pub(super) gvisor_allows: bool,
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

fn is_zero(value: &u64) -> bool {
    *value == 0
}
