//! Text that may quote what came from outside: a field's name, a header, what another service said.
//!
//! Such text ends in results, logs and terminals. There it must not move the cursor, begin a line of
//! its own, reorder what stands around it, or take more memory than a sentence does.

use std::{
    fmt::{self, Display, Write},
    ops::Deref,
};

use serde::{Deserialize, Deserializer, Serialize, de};

/// At most [`MAX_BYTES`](Self::MAX_BYTES) of printable text on one line.
///
/// What isn't printable is escaped as in Rust (`\n`, `\u{1b}`), and what is too long is cut and says so.
/// To make printable text of it once more changes nothing, so every reader can do that again: a result in
/// the store need not come from a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PrintableText(String);

impl PrintableText {
    /// The longest text, in bytes, with the note that it was cut.
    pub const MAX_BYTES: usize = 1024;

    /// The printable form of `text`; needs no more memory than the result, however long `text` is.
    pub fn new(text: impl Display) -> Self {
        Self(printable_line(text, Self::MAX_BYTES))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` on one line of at most `max_bytes` bytes: escaped, and cut with a note if it is longer. For what a
/// person is shown as a whole, which may hold more than one [`PrintableText`].
pub fn printable_line(text: impl Display, max_bytes: usize) -> String {
    let mut writer =
        BoundedWriter { text: String::new(), max_bytes, cut: 0, written: 0, is_cut: false };
    // Only a `Display` that fails by itself ends early, and what it wrote before is all there is.
    let _ = write!(writer, "{text}");
    writer.finish()
}

/// Whether a terminal shows `c` as itself and in its place: it is no control character, no control of the
/// writing direction, none of zero width and no separator of lines.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(c,
        '\u{80}'..='\u{9f}' // C1, among it a one-character CSI
        | '\u{ad}' | '\u{34f}' | '\u{61c}' // soft hyphen, grapheme joiner, Arabic letter mark
        | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' // zero width, marks of direction
        | '\u{2028}'..='\u{202e}' // separators of lines and paragraphs, bidirectional controls
        | '\u{2060}'..='\u{206f}' // joiners, isolates, deprecated controls
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' // tags, more variation selectors
    )
}

/// Writes `text` with all that isn't printable escaped.
///
/// # Errors
/// Those of `writer`.
pub fn write_printable(writer: &mut impl Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_printable(c)) {
        let (printable, from) = rest.split_at(at);
        writer.write_str(printable)?;
        let Some(c) = from.chars().next() else { break };
        match c {
            '\n' | '\r' | '\t' => write!(writer, "{}", c.escape_default())?,
            _ => write!(writer, "{}", c.escape_unicode())?,
        }
        rest = &from[c.len_utf8()..];
    }
    writer.write_str(rest)
}

/// Keeps the beginning of what is written, escaped, and counts the rest.
struct BoundedWriter {
    text: String,
    max_bytes: usize,
    /// Where the text can be cut so that the note still fits.
    cut: usize,
    /// The bytes that were written, before they were escaped.
    written: usize,
    is_cut: bool,
}

/// Room for the note, with a number of twenty digits.
const NOTE_BYTES: usize = "… (18446744073709551615 bytes)".len();

impl BoundedWriter {
    fn finish(mut self) -> String {
        if self.is_cut {
            self.text.truncate(self.cut);
            self.text += &format!("… ({} bytes)", self.written);
        }
        self.text
    }
}

impl Write for BoundedWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.written = self.written.saturating_add(text.len());
        for c in text.chars() {
            if self.is_cut {
                break;
            }
            let before = self.text.len();
            if is_printable(c) {
                self.text.push(c);
            } else {
                write_printable(&mut self.text, c.encode_utf8(&mut [0; 4]))?;
            }
            if self.text.len() > self.max_bytes {
                self.text.truncate(before);
                self.is_cut = true;
            } else if self.text.len() + NOTE_BYTES <= self.max_bytes {
                self.cut = self.text.len();
            }
        }
        Ok(())
    }
}

impl Deref for PrintableText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Display for PrintableText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for PrintableText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for PrintableText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<PrintableText> for String {
    fn from(text: PrintableText) -> String {
        text.0
    }
}

impl PartialEq<str> for PrintableText {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for PrintableText {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<'de> Deserialize<'de> for PrintableText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = PrintableText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<PrintableText, E> {
                Ok(PrintableText::new(text))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let cases = [
            ("plain, ä, 漢字, 🎉", "plain, ä, 漢字, 🎉"),
            ("C:\\n", "C:\\n"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred\u{7f}\0", "\\u{1b}[31mred\\u{7f}\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gnp.exe\u{2066}", "\\u{202e}gnp.exe\\u{2066}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("\u{e0041}", "\\u{e0041}"),
        ];
        for (text, expected) in cases {
            assert_eq!(PrintableText::new(text), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_how_long_it_was() {
        let fits = "x".repeat(PrintableText::MAX_BYTES);
        assert_eq!(PrintableText::new(&fits), fits.as_str());
        let long = PrintableText::new("x".repeat(7 << 20));
        assert!(long.len() <= PrintableText::MAX_BYTES, "{}", long.len());
        assert!(long.ends_with("x… (7340032 bytes)"), "{long}");
        // Never in the middle of an escape.
        let escaped = PrintableText::new("\u{1b}".repeat(1000));
        assert!(escaped.ends_with("\\u{1b}… (1000 bytes)"), "{escaped}");
    }

    #[test]
    fn what_is_read_was_made_printable_however_it_was_written() {
        let json = format!("\"\\u001b[2J{}\"", "y".repeat(5000));
        let read: PrintableText = serde_json::from_str(&json).expect("a string");
        assert!(read.starts_with("\\u{1b}[2Jyyy") && read.ends_with(" bytes)"), "{read}");
        assert!(serde_json::from_str::<PrintableText>("7").is_err());
    }

    proptest! {
        #[test]
        fn any_text_becomes_printable_bounded_and_stays_as_it_is(
            text in prop_oneof!["\\PC{0,40}", any::<String>(), ".{900,1200}", "[\u{80}-\u{9f}\u{200b}-\u{206f}\n]{0,300}"],
        ) {
            let printable = PrintableText::new(&text);
            prop_assert!(printable.len() <= PrintableText::MAX_BYTES);
            prop_assert!(printable.chars().all(is_printable), "{:?}", printable);
            prop_assert_eq!(&PrintableText::new(&printable), &printable);
            let json = serde_json::to_string(&printable).expect("a string");
            prop_assert_eq!(&serde_json::from_str::<PrintableText>(&json).expect("one"), &printable);
            if text.len() <= PrintableText::MAX_BYTES && text.chars().all(is_printable) {
                prop_assert_eq!(printable.as_str(), text.as_str());
            }
        }
    }
}
