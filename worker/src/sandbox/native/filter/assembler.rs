//! Instructions of the kernel's classic packet filter, written from the last to the first.
//!
//! Jumps only go forward, so that every target's position is known when its jump is written. A conditional
//! jump reaches 255 instructions; a target farther away gets a copy or a jump nearer by.

use std::collections::HashMap;

use crate::sandbox::seccomp::Answer;

/// `BPF_LD | BPF_W | BPF_ABS`: load 32 bits of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`, unsigned.
pub(super) const IF_ABOVE: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`, unsigned.
pub(super) const IF_AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// `SECCOMP_RET_ALLOW`.
pub(super) const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO`; the error number is added.
pub(super) const ERRNO: u32 = 0x0005_0000;
/// `SECCOMP_RET_KILL_PROCESS`: the whole process dies of `SIGSYS`.
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// A `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jump_true: u8,
    pub(super) jump_false: u8,
    pub(super) value: u32,
}

/// A word of what the kernel shows a filter of a call (`struct seccomp_data`).
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    /// The call's number.
    Number,
    /// Its calling convention, as `AUDIT_ARCH_…`.
    Architecture,
    /// The lower half of an argument.
    ArgumentLow(u8),
    /// The upper half of an argument.
    ArgumentHigh(u8),
}

impl Word {
    /// Where it lies; both architectures are little-endian, so the lower half comes first.
    fn offset(self) -> u32 {
        match self {
            Self::Number => 0,
            Self::Architecture => 4,
            Self::ArgumentLow(index) => 16 + 8 * u32::from(index),
            Self::ArgumentHigh(index) => 20 + 8 * u32::from(index),
        }
    }
}

/// A place in the program: how many instructions come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program that grows at its front.
#[derive(Debug, Default)]
pub(super) struct Program {
    reversed: Vec<Instruction>,
    /// Where the nearest `return` of each value is.
    returns: HashMap<u32, Label>,
}

impl Program {
    /// How many instructions it has.
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    /// The program as the kernel reads it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * self.len());
        for instruction in self.reversed.iter().rev() {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jump_true, instruction.jump_false]);
            bytes.extend(instruction.value.to_ne_bytes());
        }
        bytes
    }

    /// Where the filter ends with `answer`.
    pub(super) fn answer(&mut self, answer: Answer) -> Label {
        self.end(match answer {
            Answer::Allow => ALLOW,
            Answer::Succeed => ERRNO,
            Answer::Errno(number) => ERRNO | u32::from(number),
        })
    }

    /// Where the filter ends the process.
    pub(super) fn kill(&mut self) -> Label {
        self.end(KILL_PROCESS)
    }

    /// Loads `word`, then goes on at `next`.
    pub(super) fn load(&mut self, word: Word, next: Label) -> Label {
        self.adjoin(next);
        self.push(LOAD, word.offset())
    }

    /// Clears what isn't under `mask` in the word that is loaded, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.adjoin(next);
        self.push(AND, mask)
    }

    /// Goes on at `yes` if the word that is loaded is `value`, else at `no`.
    pub(super) fn if_equal(&mut self, value: u32, yes: Label, no: Label) -> Label {
        self.branch(IF_EQUAL, value, yes, no)
    }

    /// Goes on at `yes` if the word that is loaded is more than `value`, else at `no`.
    pub(super) fn if_above(&mut self, value: u32, yes: Label, no: Label) -> Label {
        self.branch(IF_ABOVE, value, yes, no)
    }

    /// Goes on at `yes` if the word that is loaded is `value` or more, else at `no`.
    pub(super) fn if_at_least(&mut self, value: u32, yes: Label, no: Label) -> Label {
        self.branch(IF_AT_LEAST, value, yes, no)
    }

    fn end(&mut self, value: u32) -> Label {
        match self.returns.get(&value) {
            // Leaves room for the jumps that may still be written in between.
            Some(label) if self.distance(*label) < REACH / 2 => *label,
            _ => {
                let label = self.push(RETURN, value);
                self.returns.insert(value, label);
                label
            }
        }
    }

    fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.bring_near(yes);
        let no = self.bring_near(no);
        let instruction = Instruction {
            code,
            jump_true: self.short_distance(yes),
            jump_false: self.short_distance(no),
            value,
        };
        self.reversed.push(instruction);
        Label(self.len() - 1)
    }

    /// A place with the same effect as `label` that the next instruction but one can still reach.
    fn bring_near(&mut self, label: Label) -> Label {
        if self.distance(label) < REACH {
            return label;
        }
        let target = self.reversed[label.0];
        if target.code == RETURN { self.end(target.value) } else { self.jump(label) }
    }

    /// Sees to it that the next instruction is followed by what is at `label`.
    fn adjoin(&mut self, label: Label) {
        if self.distance(label) > 0 {
            self.jump(label);
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        // A distance is less than the program's length, which the caller bounds.
        let distance = self.distance(label) as u32;
        self.push(JUMP, distance)
    }

    fn push(&mut self, code: u16, value: u32) -> Label {
        self.reversed.push(Instruction { code, jump_true: 0, jump_false: 0, value });
        Label(self.len() - 1)
    }

    /// How many instructions the next one would have to skip to go on at `label`.
    fn distance(&self, label: Label) -> usize {
        self.len() - label.0 - 1
    }

    fn short_distance(&self, label: Label) -> u8 {
        u8::try_from(self.distance(label)).expect("the target was brought near")
    }
}
