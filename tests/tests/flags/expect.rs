//! What a flag may do in a mode, and how its rows are written.

/// What becomes of a flag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Something shows or is sent that isn't there without the flag.
    Seen(&'static str),
    /// The command refuses it by name.
    Refused,
    /// The mode is made of it.
    Mode,
    /// It is accepted; its effect is the matter of this test, or there is none to see.
    Elsewhere(#[expect(dead_code, reason = "for readers")] &'static str),
}

use Expect::{Elsewhere, Seen};

pub(crate) type Row = (&'static str, &'static [(&'static [&'static str], Expect)]);

/// A command, the arguments that make its modes, and what its flags do in each.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) modes: &'static [(&'static str, &'static [&'static str])],
    pub(crate) rows: &'static [Row],
}

pub(crate) const fn one(
    extra: &'static [&'static str],
    expect: Expect,
) -> [(&'static [&'static str], Expect); 1] {
    [(extra, expect)]
}

pub(crate) const fn both(
    extra: &'static [&'static str],
    expect: Expect,
) -> [(&'static [&'static str], Expect); 2] {
    [(extra, expect); 2]
}

pub(crate) const fn four(
    extra: &'static [&'static str],
    expect: Expect,
) -> [(&'static [&'static str], Expect); 4] {
    [(extra, expect); 4]
}

pub(crate) const BAD: &[&str] = &["--config", "$BAD"];
pub(crate) const BAD_SEEN: Expect = Seen("exit 64");
pub(crate) const TERMINAL: Expect = Elsewhere("run::terminal");
