//! A group of the profile: calls with one answer, the reason, and what makes several rules of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    error::ProfileError,
    rule::{Answer, Comparison, Condition, Entry},
};

/// The kernel cuts larger error numbers down to this.
const LARGEST_ERRNO: u16 = 4095;

/// System calls with one answer, and the reason for it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Group {
    comment: String,
    names: Vec<String>,
    action: Action,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Vec<Condition>,
    /// A rule for each of its values.
    one_of: Option<OneOf>,
    /// Rules that together hold for all values but one.
    other_than: Option<OtherThan>,
    /// What gVisor does instead: it can only be that it allows them.
    gvisor: Option<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// Not a word of Docker's, so that no missing or mistyped error number can come to mean it.
    #[serde(rename = "SUCCEED")]
    Succeed,
}

/// An argument of 32 bits that is one of the values, which have names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOf {
    index: u8,
    values: BTreeMap<String, u32>,
}

/// An argument of so many bits, the lowest ones, that is any number but one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherThan {
    index: u8,
    value: u32,
    bits: u8,
}

impl OtherThan {
    /// A rule for each bit: it differs in that one, and in none below. So no two hold at once.
    fn blocks(&self) -> impl Iterator<Item = (u32, u32)> {
        let Self { value, bits, .. } = *self;
        (0..bits).map(move |bit| {
            let mask = u32::MAX >> (31 - bit);
            (mask, (value ^ 1 << bit) & mask)
        })
    }
}

impl Group {
    /// The rules that it stands for.
    pub(super) fn entries(self) -> Result<Vec<Entry>, ProfileError> {
        self.check()
            .map_err(|fault| ProfileError::Group { comment: self.comment.clone(), fault })?;
        let entry = |conditions| Entry {
            names: self.names.clone(),
            conditions,
            answer: self.answer(),
            gvisor_allows: self.gvisor.is_some(),
        };
        let (index, blocks): (u8, Vec<_>) = match (&self.one_of, &self.other_than) {
            (Some(one), _) => (one.index, blocks(&one.values.values().copied().collect())),
            (None, Some(other)) => (other.index, other.blocks().collect()),
            (None, None) => return Ok(vec![entry(self.args.clone())]),
        };
        let condition = |(mask, value): (u32, u32)| Condition {
            index,
            comparison: Comparison::MaskedEqual,
            value: mask.into(),
            value_two: value.into(),
        };
        let one = |block| entry([&self.args[..], &[condition(block)]].concat());
        Ok(blocks.into_iter().map(one).collect())
    }

    fn answer(&self) -> Answer {
        match self.action {
            Action::Allow => Answer::Allow,
            Action::Errno => Answer::Errno(self.errno_ret.unwrap_or_default()),
            Action::Succeed => Answer::Succeed,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.comment.is_empty() {
            return Err("gives no reason");
        }
        match (self.action, self.errno_ret) {
            (Action::Allow | Action::Succeed, None) => {}
            (Action::Errno, Some(errno)) if is_errno(errno) => {}
            _ => return Err("needs an errnoRet to refuse, and none to allow"),
        }
        if self.gvisor.is_some_and(|action| action != Action::Allow)
            || (self.gvisor.is_some() && self.action == Action::Allow)
        {
            return Err("has another answer for gVisor than to allow what it refuses elsewhere");
        }
        let indices = self.args.iter().map(|condition| condition.index);
        let indices = indices.chain(self.one_of.iter().map(|one| one.index));
        let indices: Vec<u8> =
            indices.chain(self.other_than.iter().map(|other| other.index)).collect();
        for (place, index) in indices.iter().enumerate() {
            if *index > 5 {
                return Err("looks at an argument past the sixth");
            }
            // runc turns two conditions on one argument into two rules, of which either will do.
            if indices[..place].contains(index) {
                return Err("looks at one argument twice");
            }
        }
        if self.one_of.as_ref().is_some_and(|one| one.values.is_empty()) {
            return Err("is one of no values");
        }
        if self.one_of.is_some() && self.other_than.is_some() {
            return Err("is one of some values and other than one, of which either would do");
        }
        if self.other_than.as_ref().is_some_and(|it| {
            !(1..=32).contains(&it.bits) || it.value.checked_shr(it.bits.into()).unwrap_or(0) != 0
        }) {
            return Err("is other than a value that doesn't have so many bits");
        }
        for condition in &self.args {
            let stray = match condition.comparison {
                Comparison::MaskedEqual => condition.value_two & !condition.value,
                _ => condition.value_two,
            };
            if stray != 0 {
                return Err("has a valueTwo that can't be met or means nothing");
            }
        }
        Ok(())
    }
}

/// The fewest masks with what must be left under each that hold for `values` and no others. gVisor
/// makes a dozen instructions of a rule and takes no more of them than Linux does.
fn blocks(values: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut blocks = Vec::new();
    let mut covered = 0;
    for &first in values {
        if u64::from(first) < covered {
            continue;
        }
        let is_whole = |bits: &u32| {
            let last = first | ((1 << bits) - 1);
            first.trailing_zeros() >= *bits && (first..=last).all(|value| values.contains(&value))
        };
        let bits = (0..=values.len().ilog2()).rev().find(is_whole).unwrap_or(0);
        blocks.push((u32::MAX << bits, first));
        covered = u64::from(first) + (1 << bits);
    }
    blocks
}

/// Zero would tell the program that the call went well: [`Action::Succeed`] says that.
pub(super) fn is_errno(number: u16) -> bool {
    (1..=LARGEST_ERRNO).contains(&number)
}
