//! Everything that a command prints. Nothing else in this program writes to stdout or stderr: a lint
//! sees to that, so that no text of outside origin reaches a terminal as it came.
#![allow(clippy::disallowed_methods, reason = "this is the file that the lint leads to")]

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use sandfleet_common::{PrintableText, is_printable, printable_line, write_printable};
use serde::Serialize;
use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::{causes, config::ConfigErrors, hooks::Stream};

/// The longest line that is shown, in bytes. A line of ours may quote several texts.
pub(super) const MAX_LINE_BYTES: usize = 8 << 10;

/// One line of a text for people.
pub(super) fn line(text: impl Display) -> String {
    printable_line(text, MAX_LINE_BYTES)
}

/// A text of several lines, which are its own: what it quotes is printable already.
pub(super) fn lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|it| match it.strip_suffix('\n') {
            Some(it) => line(it) + "\n",
            None => line(it),
        })
        .collect()
}

/// The message of a failed command: one line; one for each mistake in the configuration.
pub(super) fn failure_text(failure: &Failure) -> String {
    let text = format!("sandfleet: {}", causes::in_one_line(failure.error.as_ref()));
    match failure.error.downcast_ref::<ConfigErrors>() {
        Some(_) => lines(&(text + "\n")),
        None => line(text) + "\n",
    }
}

/// JSON in which every character that isn't printable is escaped: it means the same.
pub(super) fn json(value: &impl Serialize) -> String {
    escape_json(&String::from_utf8_lossy(&sandfleet_common::encode(value)))
}

/// As [`json`], on several lines.
pub(super) fn pretty_json(value: &impl Serialize) -> Result<String, Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Exit::Internal.because(error))?;
    Ok(escape_json(&text))
}

/// As [`json`], on several lines if `pretty`, for what is no result: none of its texts is longer than a
/// [`PrintableText`].
pub(super) fn bounded_json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let value = serde_json::to_value(value).map_err(|error| Exit::Internal.because(error))?;
    let value = bounded(value);
    let text = if pretty { format!("{value:#}") } else { value.to_string() };
    Ok(escape_json(&text))
}

fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(PrintableText::from(text).into()),
        Value::Array(items) => items.into_iter().map(bounded).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (String::from(PrintableText::from(name)), bounded(value)))
            .collect(),
        other => other,
    }
}

fn escape_json(text: &str) -> String {
    // Line ends stand between values only: inside a string they are escaped already.
    if text.chars().all(|c| is_printable(c) || c == '\n') {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if is_printable(c) || c == '\n' {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// Prints a text that [`line`], [`lines`] or [`json`] made.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| stdout_failed(&error))
}

/// Stdout for what is no text: an archive.
pub(super) fn binary_stdout() -> io::Stdout {
    io::stdout()
}

/// That stdout takes no more.
pub(super) fn stdout_failed(error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::ClosedPipe,
        _ => Exit::Internal,
    };
    exit.with(format!("stdout: {error}"))
}

/// Prints a line.
pub(super) fn print_line(text: impl Display) -> Result<(), Failure> {
    print(&(line(text) + "\n"))
}

/// What a screen is drawn to. All text on it has to be printable already.
pub(super) fn screen() -> io::Stdout {
    io::stdout()
}

/// Whether a screen can be drawn, and keys be read.
pub(super) fn has_screen() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// Whether a person watches stderr.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Writes a line to stderr; if stderr is closed, that can't be reported anywhere.
pub(super) fn say(text: impl Display) {
    let _ = io::stderr().write_all((line(text) + "\n").as_bytes());
}

/// Writes a question to stderr, without a line's end.
pub(super) fn ask(text: impl Display) {
    let _ = io::stderr().write_all(line(text).as_bytes());
}

/// Writes several lines to stderr.
pub(super) fn say_lines(text: &str) {
    let _ = io::stderr().write_all(lines(text).as_bytes());
}

/// What a program prints, on its way to this process's own streams.
///
/// To a file or a pipe it goes byte for byte. To a terminal it goes as text: without `raw`, whatever a
/// terminal would obey is escaped, for the program is not trusted and the terminal is the user's.
pub(super) struct ProgramOutput {
    stdout: Mutex<Filter>,
    stderr: Mutex<Filter>,
}

impl ProgramOutput {
    pub(super) fn new(raw: bool) -> Self {
        let filter = |is_terminal| Mutex::new(Filter::new(is_terminal, raw));
        Self {
            stdout: filter(io::stdout().is_terminal()),
            stderr: filter(io::stderr().is_terminal()),
        }
    }

    /// Passes `bytes` of a program's `stream` on.
    pub(super) fn write(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => write(&self.stdout, io::stdout().lock(), bytes),
            Stream::Stderr => write(&self.stderr, io::stderr().lock(), bytes),
        }
    }

    /// The program's output is over: what follows begins on a line of its own.
    pub(super) fn finish(&self) -> io::Result<()> {
        let [stdout, stderr] = [&self.stdout, &self.stderr]
            .map(|it| it.lock().unwrap_or_else(PoisonError::into_inner).finish());
        io::stdout().write_all(&stdout)?;
        io::stdout().flush()?;
        io::stderr().write_all(&stderr)
    }
}

fn write(filter: &Mutex<Filter>, mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    let text = filter.lock().unwrap_or_else(PoisonError::into_inner).pass(bytes);
    to.write_all(&text)?;
    to.flush()
}

/// One stream of a program.
struct Filter {
    is_terminal: bool,
    escapes: bool,
    /// The beginning of a character that came in two pieces.
    partial: Vec<u8>,
    in_line: bool,
}

impl Filter {
    fn new(is_terminal: bool, raw: bool) -> Self {
        let escapes = is_terminal && !raw;
        Self { is_terminal, escapes, partial: Vec::new(), in_line: false }
    }

    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        if let Some(last) = bytes.last() {
            self.in_line = *last != b'\n';
        }
        if !self.escapes {
            return bytes.to_vec();
        }
        let mut bytes = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
        let mut text = String::with_capacity(bytes.len());
        let incomplete = loop {
            let Err(error) = std::str::from_utf8(&bytes) else { break 0 };
            let valid = error.valid_up_to();
            let Some(length) = error.error_len() else { break bytes.len() - valid };
            escape(&mut text, &bytes[..valid]);
            escape_bytes(&mut text, &bytes[valid..valid + length]);
            bytes.drain(..valid + length);
        };
        self.partial = bytes.split_off(bytes.len() - incomplete);
        escape(&mut text, &bytes);
        text.into_bytes()
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut text = String::new();
        escape_bytes(&mut text, &std::mem::take(&mut self.partial));
        if self.is_terminal && self.in_line {
            text.push('\n');
        }
        self.in_line = false;
        text.into_bytes()
    }
}

/// Escapes valid text but for what makes lines and columns.
fn escape(text: &mut String, valid: &[u8]) {
    for piece in String::from_utf8_lossy(valid).split_inclusive(['\n', '\r', '\t']) {
        let (piece, layout) = match piece.as_bytes().last() {
            Some(b'\n' | b'\r' | b'\t') => piece.split_at(piece.len() - 1),
            _ => (piece, ""),
        };
        // A `String` takes everything.
        let _ = write_printable(text, piece);
        text.push_str(layout);
    }
}

fn escape_bytes(text: &mut String, invalid: &[u8]) {
    for byte in invalid {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_program_prints_can_not_steer_a_terminal() {
        let mut filter = Filter::new(true, false);
        let shown = |filter: &mut Filter, bytes: &[u8]| {
            String::from_utf8(filter.pass(bytes)).expect("text")
        };
        assert_eq!(shown(&mut filter, b"\x1b]0;title\x07\ta\r\n"), "\\u{1b}]0;title\\u{7}\ta\r\n");
        assert_eq!(shown(&mut filter, b"\x9b31m\xff"), "\\x9b31m\\xff");
        // A control character in two pieces, and a letter.
        assert_eq!(shown(&mut filter, b"\xc2"), "");
        assert_eq!(shown(&mut filter, b"\x9b1m\xc3"), "\\u{9b}1m");
        assert_eq!(shown(&mut filter, b"\xa4"), "ä");
        assert_eq!(shown(&mut filter, b"x\xe2\x80"), "x");
        assert_eq!(filter.finish(), b"\\xe2\\x80\n", "the next line is its own");
    }

    #[test]
    fn a_pipe_gets_every_byte_and_so_does_a_terminal_by_wish() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (is_terminal, raw) in [(false, false), (false, true), (true, true)] {
            let mut filter = Filter::new(is_terminal, raw);
            assert_eq!(filter.pass(&bytes), bytes);
            assert_eq!(filter.finish(), if is_terminal { &b"\n"[..] } else { b"" });
        }
    }

    proptest! {
        #[test]
        fn however_output_is_cut_into_pieces_it_is_shown_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200,
        ) {
            let whole = |pieces: &[&[u8]]| {
                let mut filter = Filter::new(true, false);
                let mut all: Vec<u8> = pieces.iter().flat_map(|it| filter.pass(it)).collect();
                all.extend(filter.finish());
                String::from_utf8(all).expect("text")
            };
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            let shown = whole(&[head, tail]);
            prop_assert_eq!(&shown, &whole(&[&bytes]));
            prop_assert!(shown.chars().all(|c| is_printable(c) || "\n\r\t".contains(c)), "{:?}", shown);
        }

        #[test]
        fn json_is_printable_and_means_the_same(text in any::<String>()) {
            let value = serde_json::json!({ &text: [&text] });
            let shown = json(&value);
            prop_assert!(shown.chars().all(is_printable), "{:?}", shown);
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), value);
        }
    }
}
