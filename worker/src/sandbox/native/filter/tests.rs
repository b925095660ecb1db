use std::collections::BTreeSet;

use super::super::super::seccomp::ENOSYS;
use super::assembler::{
    ALLOW, AND, ERRNO, IF_ABOVE, IF_AT_LEAST, IF_EQUAL, JUMP, KILL_PROCESS, LOAD, RETURN,
};
use super::*;

const I386: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;
const EPERM: u32 = ERRNO | 1;
const EAFNOSUPPORT: u32 = ERRNO | 97;

/// A compiled profile and what it was made of.
struct Filter {
    architecture: Architecture,
    profile: Profile,
    instructions: Vec<(u16, u8, u8, u32)>,
}

impl Filter {
    fn new(architecture: Architecture) -> Self {
        let profile = Profile::embedded().unwrap();
        let program = assemble(&profile, architecture);
        Self::of(architecture, profile, &program)
    }

    fn of(architecture: Architecture, profile: Profile, program: &Program) -> Self {
        let decode = |bytes: &[u8]| {
            let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
            let value = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            (code, bytes[2], bytes[3], value)
        };
        let instructions = program.bytes().chunks_exact(8).map(decode).collect();
        Self { architecture, profile, instructions }
    }

    /// What the kernel would do with the call, and after how many instructions.
    fn run(&self, convention: u32, number: u32, arguments: &[u64; 6]) -> (u32, usize) {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(convention.to_le_bytes());
        data.extend(0xdead_beef_dead_beef_u64.to_le_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
        let (mut place, mut loaded, mut steps) = (0, 0, 0);
        loop {
            let (code, jump_true, jump_false, value) = self.instructions[place];
            place += 1;
            steps += 1;
            let jump = |condition| usize::from(if condition { jump_true } else { jump_false });
            match code {
                LOAD => {
                    let bytes = &data[value as usize..value as usize + 4];
                    loaded = u32::from_le_bytes(bytes.try_into().unwrap());
                }
                AND => loaded &= value,
                JUMP => place += value as usize,
                IF_EQUAL => place += jump(loaded == value),
                IF_ABOVE => place += jump(loaded > value),
                IF_AT_LEAST => place += jump(loaded >= value),
                RETURN => return (value, steps),
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }

    /// What happens to a call by name in the native convention.
    fn call<const N: usize>(&self, name: &str, arguments: [u64; N]) -> u32 {
        let mut all = [0; 6];
        all[..N].copy_from_slice(&arguments);
        let number = self.architecture.number(name).unwrap();
        self.run(self.architecture.audit_number(), number, &all).0
    }
}

/// The profile read as a person would read it, to compare the program with.
fn read(rules: Option<&Vec<Rule>>, default: Answer, arguments: &[u64; 6]) -> u32 {
    let holds = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.holds(arguments));
    let rule = rules.and_then(|rules| rules.iter().find(holds));
    match rule.map_or(default, |rule| rule.answer) {
        Answer::Allow => ALLOW,
        Answer::Succeed => ERRNO,
        Answer::Errno(number) => ERRNO | u32::from(number),
    }
}

/// Values at which a condition on the argument could go wrong.
fn edges(rules: &[Rule], index: u8) -> Vec<u64> {
    let conditions = rules.iter().flat_map(|rule| &rule.conditions);
    let mut values = BTreeSet::from([0, 1, u64::MAX, u64::from(u32::MAX), 1 << 32]);
    for condition in conditions.filter(|condition| condition.index == index) {
        for value in [condition.value, condition.value_two] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1)]);
            values.extend([value | 1 << 32, value | 0x80800]);
        }
    }
    values.into_iter().collect()
}

fn filters() -> [Filter; 2] {
    [Filter::new(Architecture::X86_64), Filter::new(Architecture::Aarch64)]
}

#[test]
fn the_program_does_what_the_profile_says() {
    for filter in filters() {
        let default = filter.profile.default_answer();
        let rules = filter.profile.rules(filter.architecture);
        let newest = *rules.keys().last().unwrap();
        let convention = filter.architecture.audit_number();
        for number in (0..600).chain([X32 - 1, X32, X32 + 1, X32 + 512, i32::MAX as u32, u32::MAX])
        {
            let rules = rules.get(&number);
            let default = if number > newest { Answer::Errno(ENOSYS) } else { default };
            let ours = rules.map_or(&[][..], |rules| rules);
            // Rules look at the first four arguments and the last; elsewhere any values do.
            let [mut first, second, mut third] = [0, 1, 2].map(|index| edges(ours, index));
            first.extend(edges(ours, 3));
            third.extend(edges(ours, 5));
            for a in &first {
                for b in &second {
                    for c in &third {
                        let arguments = [*a, *b, *c, *a, *b, *c];
                        let did = filter.run(convention, number, &arguments).0;
                        let said = read(rules, default, &arguments);
                        assert_eq!(did, said, "call {number} {arguments:x?}");
                    }
                }
            }
            // One bit at a time, through every argument.
            for bit in 0..384 {
                let mut arguments = [0; 6];
                arguments[bit / 64] = 1 << (bit % 64);
                let did = filter.run(convention, number, &arguments).0;
                assert_eq!(did, read(rules, default, &arguments), "call {number} {arguments:x?}");
            }
        }
    }
}

#[test]
fn every_comparison_is_of_64_bits() {
    use Comparison::*;
    let values = [0, 1, 7, 8, 1 << 32, (1 << 32) | 7, (3 << 32) | 7, u64::MAX - 1, u64::MAX];
    for comparison in [Equal, NotEqual, Less, LessOrEqual, GreaterOrEqual, Greater, MaskedEqual] {
        for value in values {
            let value_two = if comparison == MaskedEqual { value & 0x5_0000_0005 } else { 0 };
            let condition = Condition { index: 3, comparison, value, value_two };
            let mut program = Program::default();
            let no = program.answer(Answer::Errno(1));
            let yes = program.answer(Answer::Allow);
            compare(&mut program, &condition, yes, no);
            let profile = Profile::embedded().unwrap();
            let filter = Filter::of(Architecture::X86_64, profile, &program);
            for argument in values.iter().flat_map(|v| [*v, v ^ 1, v ^ (1 << 32), v ^ (1 << 33)]) {
                let arguments = [!argument, 0, 9, argument, 0, !argument];
                let expected = if condition.holds(&arguments) { ALLOW } else { EPERM };
                assert_eq!(filter.run(0, 0, &arguments).0, expected, "{condition:?} {argument:#x}");
            }
        }
    }
}

#[test]
fn the_program_is_short_and_shallow() {
    for filter in filters() {
        let convention = filter.architecture.audit_number();
        let depth = |number| filter.run(convention, number, &[0; 6]).1;
        let deepest = (0..512).map(depth).max().unwrap();
        let constant = (0..512)
            .filter(|number| {
                let rules = filter.profile.rules(filter.architecture);
                rules.get(number).is_none_or(|rules| rules[0].conditions.is_empty())
            })
            .map(depth)
            .max()
            .unwrap();
        let length = filter.instructions.len();
        println!("{:?}: {length} instructions, {constant} deep", filter.architecture);
        assert!(length < 640, "{:?} takes {length} instructions", filter.architecture);
        assert!(constant <= 12, "{:?} takes {constant} steps", filter.architecture);
        assert!(deepest <= 80, "{:?} takes {deepest} steps", filter.architecture);
    }
}

#[test]
fn jumps_farther_than_their_offset_reach_all_the_same() {
    // A chain of a thousand comparisons, each of which leaves for the chain's far end.
    let mut program = Program::default();
    let end = program.answer(Answer::Allow);
    let far = program.and(1, end);
    let mut next = program.answer(Answer::Errno(1));
    for value in (0..1000).rev() {
        let leave = if value % 2 == 0 { far } else { end };
        next = program.if_equal(value, leave, next);
    }
    program.load(Word::Number, next);
    let profile = Profile::embedded().unwrap();
    let filter = Filter::of(Architecture::X86_64, profile, &program);
    for number in 0..1100 {
        let expected = if number < 1000 { ALLOW } else { EPERM };
        assert_eq!(filter.run(0, number, &[0; 6]).0, expected, "{number}");
    }
}

#[test]
fn a_32_bit_call_is_refused() {
    let filter = Filter::new(Architecture::X86_64);
    for number in 0..1024 {
        assert_eq!(filter.run(I386, number, &[0; 6]).0, KILL_PROCESS);
        let x32 = filter.run(Architecture::X86_64.audit_number(), X32 | number, &[0; 6]).0;
        assert_eq!(x32, ERRNO | u32::from(ENOSYS));
    }
}

#[test]
fn namespace_flags_are_refused() {
    for filter in filters() {
        let fork = 0x0120_0011; // what glibc's fork asks for
        let thread = 0x003d_0f00; // what its pthread_create does
        assert_eq!(filter.call("clone", [fork]), ALLOW);
        assert_eq!(filter.call("clone", [thread]), ALLOW);
        for flag in [17, 25, 26, 27, 28, 29, 30] {
            assert_eq!(filter.call("clone", [fork | 1 << flag]), EPERM, "bit {flag}");
            assert_eq!(filter.call("clone", [1 << flag]), EPERM, "bit {flag}");
        }
        assert_eq!(filter.call("unshare", [0x1000_0000]), EPERM);
        assert_eq!(filter.call("setns", [3, 0]), EPERM);
        assert_eq!(filter.call("clone3", []), ERRNO | u32::from(ENOSYS));
    }
}

#[test]
fn only_the_named_socket_families_open() {
    let (cloexec, nonblock) = (0x80000, 0x800);
    for filter in filters() {
        for family in 0..256 {
            for kind in 0..16 {
                for protocol in [0, 1, 6, 17, 33, 58, 132, 136, 255, 262] {
                    let allowed = matches!(
                        (family, kind, protocol),
                        (1, 1 | 2 | 5, _) | (2 | 10, 1, 0 | 6) | (2 | 10, 2, 0 | 17)
                    );
                    let did = filter.call("socket", [family, kind | cloexec | nonblock, protocol]);
                    let refused = if matches!(family, 1 | 2 | 10) { EPERM } else { EAFNOSUPPORT };
                    let said = if allowed { ALLOW } else { refused };
                    assert_eq!(did, said, "family {family} type {kind} protocol {protocol}");
                }
            }
            let pair = if family == 1 { ALLOW } else { EAFNOSUPPORT };
            assert_eq!(filter.call("socketpair", [family, 1, 0]), pair);
        }
    }
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    for filter in filters() {
        for garbage in [0, 1 << 32, 0xffff_ffff << 32] {
            assert_eq!(filter.call("ioctl", [0, 0x5401 | garbage]), ALLOW, "TCGETS");
            assert_eq!(filter.call("ioctl", [0, 0x5421 | garbage]), ALLOW, "FIONBIO");
            for refused in [0x5412, 0x541c, 0x5423, 0x541d] {
                assert_eq!(filter.call("ioctl", [0, refused | garbage]), EPERM, "{refused:#x}");
            }
        }
    }
}

#[test]
fn no_device_is_made() {
    for filter in filters() {
        for (kind, answer) in [
            (0, ALLOW),
            (0o010000, ALLOW),
            (0o020000, EPERM),
            (0o060000, EPERM),
            (0o100000, ALLOW),
            (0o140000, ALLOW),
        ] {
            assert_eq!(filter.call("mknodat", [3, 0, kind | 0o666]), answer, "{kind:o}");
        }
    }
}

#[test]
fn personality_keeps_the_guards_on() {
    for filter in filters() {
        for (persona, answer) in [
            (0, ALLOW),
            (8, ALLOW),
            (0x20000, ALLOW),
            (0x20008, ALLOW),
            (0xffff_ffff, ALLOW),
            (0x0004_0000, EPERM),
            (0x0010_0000, EPERM),
            (0x0040_0000, EPERM),
            (0x0800_0000, EPERM),
        ] {
            assert_eq!(filter.call("personality", [persona]), answer, "{persona:#x}");
        }
    }
}

#[test]
fn it_compiles_for_this_machine() {
    let bytes = compile(&Profile::embedded().unwrap()).unwrap();
    assert_eq!(bytes.len() % 8, 0);
    assert!(bytes.len() / 8 < LONGEST);
}
