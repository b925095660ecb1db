//! The system call filter of the native sandbox: the profile as a program of the kernel's.
//!
//! Two things cost at install, which every job pays: the kernel translates the program, and it
//! runs it once for each call number to learn which ones pass whatever their arguments. So the
//! program is short, and a binary search over ranges of numbers with the same fate makes it
//! shallow. On a call that passes whatever its arguments, a kernel since 5.11 doesn't run it at
//! all.

mod assembler;

use std::collections::BTreeMap;

use thiserror::Error;

use self::assembler::{Label, Program, Word};
use crate::sandbox::seccomp::{Answer, Architecture, Comparison, Condition, ENOSYS, Profile, Rule};

/// The kernel takes no longer program (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

/// Why a profile can't be made into a program.
#[derive(Debug, Error)]
pub(crate) enum CompileError {
    /// There are no rules for this machine's calls.
    #[error("the seccomp profile has no rules for {0}")]
    Architecture(&'static str),
    /// The kernel would refuse it.
    #[error("the seccomp profile makes {0} instructions, the kernel takes {LONGEST}")]
    TooLong(usize),
}

/// Makes `profile` into a program for this machine: `struct sock_filter`s of 8 bytes each, as
/// `seccomp(2)` takes them.
pub(crate) fn compile(profile: &Profile) -> Result<Vec<u8>, CompileError> {
    let architecture = Architecture::running()
        .filter(|architecture| profile.covers(*architecture))
        .ok_or(CompileError::Architecture(std::env::consts::ARCH))?;
    let program = assemble(profile, architecture);
    if program.len() > LONGEST {
        return Err(CompileError::TooLong(program.len()));
    }
    Ok(program.bytes())
}

/// Call numbers from `start` to the next range's start, and what happens to them.
struct Range {
    start: u32,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The same for all numbers of the range, whatever the arguments.
    Settled(Answer),
    /// The arguments decide, at this place of the program.
    ByArguments(Label),
}

fn assemble(profile: &Profile, architecture: Architecture) -> Program {
    let mut program = Program::default();
    let ranges = settle(&mut program, profile, architecture);
    let search = search(&mut program, &ranges);
    let search = program.load(Word::Number, search);
    // A call by another convention (i386's, on x86_64) has numbers of another meaning, and no
    // program makes one by chance. Docker's runtime kills it as well.
    let kill = program.kill();
    let entry = program.if_equal(architecture.audit_number(), search, kill);
    program.load(Word::Architecture, entry);
    program
}

/// Cuts all call numbers into ranges, and writes what looks at arguments.
fn settle(program: &mut Program, profile: &Profile, architecture: Architecture) -> Vec<Range> {
    let default = profile.default_answer();
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |start: u32, fate: Fate| match ranges.last() {
        Some(last) if last.fate == fate => {}
        _ => ranges.push(Range { start, fate }),
    };
    let mut next = 0;
    for (number, rules) in profile.rules(architecture) {
        if number > next {
            add(next, Fate::Settled(default));
        }
        let fate = match rules.first() {
            Some(rule) if rule.conditions.is_empty() => Fate::Settled(rule.answer),
            _ => {
                let otherwise = program.answer(default);
                Fate::ByArguments(decide(program, &rules, 0, otherwise))
            }
        };
        add(number, fate);
        next = number + 1;
    }
    // Numbers past the last one that the profile knows are calls newer than it, and x32's, which
    // have bit 30 set: to a program that tries one, this kernel doesn't have it. runc answers the
    // newer ones likewise; x32's it kills.
    add(next, Fate::Settled(Answer::Errno(ENOSYS)));
    ranges
}

/// Writes a binary search for the call number, which is loaded.
fn search(program: &mut Program, ranges: &[Range]) -> Label {
    if let [range] = ranges {
        return match range.fate {
            Fate::Settled(answer) => program.answer(answer),
            Fate::ByArguments(label) => label,
        };
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let start = above[0].start;
    let above = search(program, above);
    let below = search(program, below);
    program.if_at_least(start, above, below)
}

/// Writes `rules` in their order; the first that holds decides, and if none does, `otherwise`.
///
/// Neighbours that begin with the same conditions share the code for these: `depth` of them. Neighbours
/// that ask for a range each of the same argument's values share its load and a binary search.
fn decide(program: &mut Program, rules: &[Rule], depth: usize, otherwise: Label) -> Label {
    let mut label = otherwise;
    let alike = rules.chunk_by(|a, b| a.conditions.get(depth) == b.conditions.get(depth));
    let alike: Vec<&[Rule]> = alike.collect();
    let range = |rules: &[Rule]| rules[0].conditions.get(depth).and_then(range);
    let same_argument = |a: &&[Rule], b: &&[Rule]| match (range(a), range(b)) {
        (Some((a, _)), Some((b, _))) => a == b,
        _ => false,
    };
    for run in alike.chunk_by(same_argument).collect::<Vec<_>>().into_iter().rev() {
        let rules = run[0];
        label = match (rules[0].conditions.get(depth), range(rules)) {
            (None, _) => program.answer(rules[0].answer),
            (_, Some((index, _))) => {
                // What asks for the same belongs together, in its order.
                let mut asked = BTreeMap::<(u32, u32), Vec<Rule>>::new();
                for (rules, values) in run.iter().filter_map(|r| Some((r, range(r)?.1))) {
                    asked.entry(values).or_default().extend_from_slice(rules);
                }
                let mut ranges = BTreeMap::new();
                for (values, rules) in asked.into_iter().rev() {
                    ranges.insert(values, decide(program, &rules, depth + 1, label));
                }
                let ranges = contiguous(ranges);
                let found = among(program, &ranges, label);
                program.load(Word::ArgumentLow(index), found)
            }
            (Some(condition), None) => {
                let holds = decide(program, rules, depth + 1, label);
                compare(program, condition, holds, label)
            }
        };
    }
    label
}

/// The argument, and the first and the last value, if `condition` asks for a range of 32 bits.
fn range(condition: &Condition) -> Option<(u8, (u32, u32))> {
    let &Condition { index, comparison, value, value_two } = condition;
    let mask = u32::try_from(value).ok().filter(|_| comparison == Comparison::MaskedEqual)?;
    let is_range = mask.leading_ones() + mask.trailing_zeros() == u32::BITS && mask != 0;
    is_range.then_some((index, (low(value_two), low(value_two) | !mask)))
}

/// Ranges that lie side by side and lead to the same place are one.
fn contiguous(asked: BTreeMap<(u32, u32), Label>) -> Vec<(u32, u32, Label)> {
    let mut ranges: Vec<(u32, u32, Label)> = Vec::new();
    for ((first, last), label) in asked {
        match ranges.last_mut() {
            Some((_, before, same)) if *same == label && *before + 1 == first => *before = last,
            _ => ranges.push((first, last, label)),
        }
    }
    ranges
}

/// Writes a binary search for the range that the loaded word is in, which ends in a few comparisons.
fn among(program: &mut Program, ranges: &[(u32, u32, Label)], no: Label) -> Label {
    if ranges.len() > 3 {
        let (below, above) = ranges.split_at(ranges.len() / 2);
        let start = above[0].0;
        let above = among(program, above, no);
        let below = among(program, below, no);
        return program.if_at_least(start, above, below);
    }
    ranges.iter().rev().fold(no, |next, &(first, last, yes)| {
        if first == last {
            return program.if_equal(first, yes, next);
        }
        let within = program.if_above(last, next, yes);
        program.if_at_least(first, within, next)
    })
}

/// Writes one condition. Arguments have 64 bits, the kernel's program compares 32 at a time.
fn compare(program: &mut Program, condition: &Condition, yes: Label, no: Label) -> Label {
    let &Condition { index, comparison, value, value_two } = condition;
    let (yes, no) = match comparison {
        Comparison::NotEqual | Comparison::Less | Comparison::LessOrEqual => (no, yes),
        _ => (yes, no),
    };
    match comparison {
        Comparison::Equal | Comparison::NotEqual => masked(program, index, !0, value, yes, no),
        Comparison::MaskedEqual => masked(program, index, value, value_two, yes, no),
        Comparison::GreaterOrEqual | Comparison::Less => {
            let low = program.if_at_least(low(value), yes, no);
            ordered(program, index, value, low, yes, no)
        }
        Comparison::Greater | Comparison::LessOrEqual => {
            let low = program.if_above(low(value), yes, no);
            ordered(program, index, value, low, yes, no)
        }
    }
}

/// Whether the argument's bits under `mask` are `value`; a half that isn't under it costs nothing.
fn masked(program: &mut Program, index: u8, mask: u64, value: u64, yes: Label, no: Label) -> Label {
    let halves = [
        (Word::ArgumentLow(index), low(mask), low(value)),
        (Word::ArgumentHigh(index), high(mask), high(value)),
    ];
    let mut label = yes;
    for (word, mask, value) in halves {
        if mask == 0 {
            continue;
        }
        label = program.if_equal(value, label, no);
        if mask != !0 {
            label = program.and(mask, label);
        }
        label = program.load(word, label);
    }
    label
}

/// Whether the upper half alone decides; if it is the value's, the lower one does, with `low`.
fn ordered(
    program: &mut Program,
    index: u8,
    value: u64,
    low: Label,
    yes: Label,
    no: Label,
) -> Label {
    let low = program.load(Word::ArgumentLow(index), low);
    let equal = program.if_equal(high(value), low, no);
    let above = program.if_above(high(value), yes, equal);
    program.load(Word::ArgumentHigh(index), above)
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

#[cfg(test)]
mod tests;
