//! Comparing what a program printed with what it should have: in one pass over both, without a copy of either.

use sandfleet_common::{Comparison, ComparisonKind};

/// How much of a word a difference shows, in bytes.
const SHOWN: usize = 48;

/// Where `output` first differs from `answer`, in one sentence; nothing if it is accepted.
pub fn difference(output: &[u8], answer: &[u8], comparison: &Comparison) -> Option<String> {
    if output.is_empty() && !answer.trim_ascii().is_empty() {
        let first = answer.trim_ascii().split(is_feed).next().unwrap_or_default();
        return Some(format!("nothing was printed, and the answer begins with {}", shown(first)));
    }
    match comparison.kind {
        ComparisonKind::Exact => exact(output, answer),
        ComparisonKind::Trimmed => trimmed(output, answer),
        ComparisonKind::Tokens | ComparisonKind::Numeric => tokens(output, answer, comparison),
        // Its words are those of the validator's own; nothing compares here.
        ComparisonKind::Validator => None,
    }
}

fn exact(output: &[u8], answer: &[u8]) -> Option<String> {
    if output == answer {
        return None;
    }
    let mut lines = (output.split_inclusive(is_feed), answer.split_inclusive(is_feed));
    let mut number = 0;
    loop {
        number += 1;
        match (lines.0.next(), lines.1.next()) {
            (Some(line), Some(wanted)) if line == wanted => {}
            (line, wanted) => return Some(lines_differ(number, line, wanted)),
        }
    }
}

fn trimmed(output: &[u8], answer: &[u8]) -> Option<String> {
    let (output, answer) = (output.trim_ascii_end(), answer.trim_ascii_end());
    let mut lines = (output.split(is_feed), answer.split(is_feed));
    let mut number = 0;
    loop {
        number += 1;
        let line = lines.0.next().map(<[u8]>::trim_ascii_end);
        let wanted = lines.1.next().map(<[u8]>::trim_ascii_end);
        match (line, wanted) {
            (None, None) => return None,
            (line, wanted) if line == wanted => {}
            (line, wanted) => return Some(lines_differ(number, line, wanted)),
        }
    }
}

fn is_feed(byte: &u8) -> bool {
    *byte == b'\n'
}

fn lines_differ(number: usize, line: Option<&[u8]>, wanted: Option<&[u8]>) -> String {
    let (line, wanted) = match (line, wanted) {
        (Some(line), Some(wanted)) => {
            let (line, wanted) = around_difference(line, wanted);
            (Some(line), Some(wanted))
        }
        (line, wanted) => (line.map(shown), wanted.map(shown)),
    };
    match (line, wanted) {
        (None, Some(wanted)) => format!("line {number} is missing: the answer has {wanted}"),
        (Some(line), None) => format!("line {number} is one too many: {line}"),
        (line, wanted) => format!(
            "line {number} is {}, and the answer has {}",
            line.unwrap_or_default(),
            wanted.unwrap_or_default()
        ),
    }
}

/// As the default output validator of the Kattis problem package format, which also says what a number is.
fn tokens(output: &[u8], answer: &[u8], comparison: &Comparison) -> Option<String> {
    let (mut ours, mut theirs) = (Tokens::new(output), Tokens::new(answer));
    loop {
        let (space, wanted_space) = (ours.space(), theirs.space());
        if comparison.space_change_sensitive && space != wanted_space {
            return Some(format!(
                "line {}: white space differs: {} instead of {}",
                ours.line,
                shown(space),
                shown(wanted_space)
            ));
        }
        let (line, other) = (ours.line, theirs.line);
        let place = |what: &str| match line == other {
            true => format!("line {line}: {what}"),
            false => format!("line {line} (line {other} of the answer): {what}"),
        };
        match (ours.token(), theirs.token()) {
            (None, None) => return None,
            (None, Some(wanted)) => {
                return Some(place(&format!(
                    "ended, and the answer goes on with {}",
                    shown(wanted)
                )));
            }
            (Some(token), None) => {
                return Some(place(&format!("{} is more than the answer has", shown(token))));
            }
            (Some(token), Some(wanted)) => {
                if let Some(why) = token_difference(token, wanted, comparison) {
                    return Some(place(&why));
                }
            }
        }
    }
}

fn token_difference(token: &[u8], wanted: &[u8], comparison: &Comparison) -> Option<String> {
    if comparison.kind == ComparisonKind::Numeric
        && let Some(expected) = number(wanted)
    {
        let Some(value) = number(token) else {
            return Some(format!(
                "{} is no number; the answer has {}",
                shown(token),
                shown(wanted)
            ));
        };
        let error = (expected - value).abs();
        let is_within = |tolerance: Option<f64>| tolerance.is_some_and(|most| error <= most);
        let relative = comparison.relative.map(|relative| relative * expected.abs());
        if is_within(comparison.absolute) || is_within(relative) {
            return None;
        }
        return Some(format!(
            "{} is {error:e} away from {}; the most is {}",
            shown(token),
            shown(wanted),
            tolerances(comparison)
        ));
    }
    let is_same = match comparison.case_sensitive {
        true => token == wanted,
        false => token.eq_ignore_ascii_case(wanted),
    };
    if is_same {
        return None;
    }
    let (token, wanted) = around_difference(token, wanted);
    Some(format!("{token} instead of {wanted}"))
}

fn tolerances(comparison: &Comparison) -> String {
    let named = [("absolute", comparison.absolute), ("relative", comparison.relative)];
    let named = named.iter().filter_map(|(name, value)| Some(format!("{name} {:e}", (*value)?)));
    named.collect::<Vec<_>>().join(" or ")
}

/// A number in decimal, with a fraction and an exponent or without; `inf`, `nan` and hexadecimal are words.
fn number(token: &[u8]) -> Option<f64> {
    let is_numeric =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if !token.iter().all(is_numeric) || !token.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let value: f64 = std::str::from_utf8(token).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// A text of words and the white space between them.
struct Tokens<'a> {
    rest: &'a [u8],
    /// The line that it is at.
    line: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { rest: text, line: 1 }
    }

    fn space(&mut self) -> &'a [u8] {
        let space = self.take(is_space);
        self.line += space.iter().filter(|byte| is_feed(byte)).count();
        space
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        Some(self.take(|byte| !is_space(byte))).filter(|token| !token.is_empty())
    }

    fn take(&mut self, is_taken: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is_taken(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// As isspace(3).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Both texts in quotes; of long ones the part where they begin to differ.
fn around_difference(ours: &[u8], theirs: &[u8]) -> (String, String) {
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    if same < SHOWN / 2 {
        return (shown(ours), shown(theirs));
    }
    let from = same - SHOWN / 4;
    let part = |text: &[u8]| format!("…{}", shown(&text[from..]));
    (part(ours), part(theirs))
}

fn shown(text: &[u8]) -> String {
    let is_cut = text.len() > SHOWN;
    let text = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
    format!("{text:?}{}", if is_cut { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn by(kind: ComparisonKind) -> Comparison {
        Comparison { kind, ..Comparison::default() }
    }

    fn is_accepted(output: &str, answer: &str, comparison: &Comparison) -> bool {
        difference(output.as_bytes(), answer.as_bytes(), comparison).is_none()
    }

    #[test]
    fn every_way_of_comparing_takes_what_it_should() {
        use ComparisonKind::*;
        let strict = |kind| Comparison { space_change_sensitive: true, ..by(kind) };
        let cased = Comparison { case_sensitive: true, ..by(Tokens) };
        let near = Comparison { absolute: Some(1e-6), ..by(Numeric) };
        let relative = Comparison { relative: Some(0.01), ..by(Numeric) };
        let either = Comparison { absolute: Some(0.5), relative: Some(0.01), ..by(Numeric) };
        let cases: &[(&str, &str, Comparison, bool)] = &[
            ("1\n", "1\n", by(Exact), true),
            ("1", "1\n", by(Exact), false),
            ("1 \n\n", "1\n", by(Trimmed), true),
            ("1\r\n2\r\n", "1\n2", by(Trimmed), true),
            (" 1\n", "1\n", by(Trimmed), false),
            ("1\n\n2\n", "1\n2\n", by(Trimmed), false),
            ("", "\n", by(Trimmed), true),
            ("a  B\n\nc", "A b c\n", by(Tokens), true),
            ("a b", "a b c", by(Tokens), false),
            ("a b c", "a b", by(Tokens), false),
            ("", " \n", by(Tokens), true),
            ("ab", "a b", by(Tokens), false),
            ("a\u{b}b\u{c}c", "a b c", by(Tokens), true),
            ("a B", "a b", cased, false),
            ("a b\n", "a b\n", strict(Tokens), true),
            ("a b", "a b\n", strict(Tokens), false),
            ("a  b\n", "a b\n", strict(Tokens), false),
            (" a b\n", "a b\n", strict(Tokens), false),
            ("a\tb\n", "a b\n", strict(Tokens), false),
            ("1.0000001", "1", near, true),
            ("1.00001", "1", near, false),
            ("1e0", "1", near, true),
            ("+1.", "1", near, true),
            (".5", "0.5", near, true),
            ("-0", "0", near, true),
            ("nan", "1", near, false),
            ("inf", "1", near, false),
            ("0x1", "1", near, false),
            ("nan", "NaN", near, true),
            ("1e999", "1e999", near, true),
            ("101", "100", relative, true),
            ("102", "100", relative, false),
            ("0.001", "0", relative, false),
            ("0.4", "0", either, true),
            ("1004", "1000", either, true),
            ("yes 2", "YES 2.0", near, true),
            ("1", "1", near, true),
            ("one", "1", near, false),
            ("--1", "1", near, false),
            ("1-1", "1-1", near, true),
        ];
        for (output, answer, comparison, accepted) in cases {
            let found = difference(output.as_bytes(), answer.as_bytes(), comparison);
            assert_eq!(
                found.is_none(),
                *accepted,
                "{output:?} {answer:?} {comparison:?}: {found:?}"
            );
        }
    }

    #[test]
    fn a_difference_says_where() {
        let said = |output: &str, answer: &str, kind| {
            difference(output.as_bytes(), answer.as_bytes(), &by(kind)).expect("they differ")
        };
        use ComparisonKind::*;
        assert_eq!(said("1\n3\n", "1\n2\n", Trimmed), r#"line 2 is "3", and the answer has "2""#);
        assert_eq!(said("1\n", "1\n2\n", Trimmed), r#"line 2 is missing: the answer has "2""#);
        assert_eq!(said("1\n2\n", "1\n", Exact), r#"line 2 is one too many: "2\n""#);
        assert_eq!(
            said("1\n\n3", "1\n2", Tokens),
            r#"line 3 (line 2 of the answer): "3" instead of "2""#
        );
        assert_eq!(said("1", "1 2", Tokens), r#"line 1: ended, and the answer goes on with "2""#);
        let (ours, theirs) = ("x".repeat(99) + "1" + &"z".repeat(99), "x".repeat(99) + "2");
        assert_eq!(
            said("", "1\n2", Trimmed),
            r#"nothing was printed, and the answer begins with "1""#
        );
        let long = said(&ours, &theirs, Tokens);
        assert!(long.contains("x1z") && long.contains("x2\"") && long.len() < 200, "{long}");
    }

    #[test]
    fn output_of_any_kind_is_compared_in_one_pass() {
        let long = [b"1 \n".repeat(1 << 20), vec![b'x'; 4 << 20], vec![b'\n'; 4 << 20]];
        for text in &long {
            for kind in [
                ComparisonKind::Exact,
                ComparisonKind::Trimmed,
                ComparisonKind::Tokens,
                ComparisonKind::Numeric,
            ] {
                let comparison = Comparison {
                    absolute: (kind == ComparisonKind::Numeric).then_some(0.1),
                    ..by(kind)
                };
                let begun = Instant::now();
                assert_eq!(difference(text, text, &comparison), None);
                // Quadratic time would be hours.
                assert!(begun.elapsed() < Duration::from_secs(20), "{kind:?}");
            }
        }
        assert!(!is_accepted("\u{0}", "", &by(ComparisonKind::Tokens)));
    }
}
