//! What tells the payloads of two messages apart: SHA-256 of the JSON value that was received, in a
//! form that every client can compute.
//!
//! Of the value and not of our [`Job`](crate::Job): a worker that knows more fields, or other
//! defaults, than the producer has to come to the same digest. The form is RFC 8785; see
//! docs/protocol.md, "The digest of a payload".

use std::{fmt, io::Write, num::TryFromIntError};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use sha2::{Digest, Sha256};

/// The members of a job that belong to the message and not to the payload.
const OF_THE_MESSAGE: [&str; 2] = ["job_id", "queued_at"];

/// The digest of a message's payload, in hexadecimal: of its JSON value without `job_id` and
/// `queued_at`, or of its bytes if they are no JSON value.
///
/// The value is written while it is read, so that memory stays in proportion to the message.
pub fn payload_digest(message: &[u8]) -> String {
    match canonical(message, &OF_THE_MESSAGE) {
        Some(text) => hexadecimal(&Sha256::digest(&text)),
        None => bytes_digest(message),
    }
}

/// The digest of a message that shares its payload with no other.
pub(crate) fn bytes_digest(message: &[u8]) -> String {
    hexadecimal(&Sha256::digest(message))
}

/// The payload of a message and its id, in the form that is hashed; nothing for what is no JSON value.
pub(crate) fn canonical_message(message: &[u8]) -> Option<Vec<u8>> {
    canonical(message, &["queued_at"])
}

fn canonical(message: &[u8], left_out: &[&str]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(message.len());
    let mut json = serde_json::Deserializer::from_slice(message);
    Canonical { text: &mut text, left_out }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(text)
}

/// Bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// One value, to be added to a text.
struct Canonical<'a> {
    text: &'a mut Vec<u8>,
    /// Members that are not written, if it is an object.
    left_out: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.text.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        write!(self.text, "{value}").map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        write!(self.text, "{value}").map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        write_float(self.text, value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        write_string(self.text, value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.text.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.text.push(b'[');
        let begin = self.text.len();
        loop {
            let before = self.text.len();
            if before > begin {
                self.text.push(b',');
            }
            if items.next_element_seed(Canonical { text: self.text, left_out: &[] })?.is_none() {
                self.text.truncate(before);
                break;
            }
        }
        self.text.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.text.push(b'{');
        let begin = self.text.len();
        let mut members = Members::default();
        while let Some(length) = map.next_key_seed(Name(&mut members.names))? {
            let name = members.names.len() - length;
            let at = self.text.len();
            write_string(self.text, &members.names[name..]);
            self.text.push(b':');
            map.next_value_seed(Canonical { text: self.text, left_out: &[] })?;
            self.text.push(b',');
            if self.left_out.contains(&&members.names[name..]) {
                self.text.truncate(at);
                members.names.truncate(name);
            } else {
                members.add(name, at, self.text.len()).map_err(A::Error::custom)?;
            }
        }
        if !members.are_sorted() {
            members.sort(self.text, begin);
        }
        if self.text.len() > begin {
            self.text.pop();
        }
        self.text.push(b'}');
        Ok(())
    }
}

/// Adds an object's next name to the others, and gives its length.
struct Name<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<usize, E> {
        self.0.push_str(name);
        Ok(name.len())
    }
}

/// The members of one object. A message may have millions of them: each takes 16 bytes and its name.
#[derive(Default)]
struct Members {
    /// All names, one after the other.
    names: String,
    list: Vec<Member>,
}

/// Where a member is: its name among the names, and all of it in the text, with the comma that ends it.
#[derive(Clone, Copy)]
struct Member {
    name: [u32; 2],
    text: [u32; 2],
}

impl Members {
    fn add(&mut self, name: usize, at: usize, end: usize) -> Result<(), TryFromIntError> {
        let name = [u32::try_from(name)?, u32::try_from(self.names.len())?];
        self.list.push(Member { name, text: [u32::try_from(at)?, u32::try_from(end)?] });
        Ok(())
    }

    fn name(&self, member: &Member) -> &str {
        let [from, to] = member.name;
        &self.names[from as usize..to as usize]
    }

    fn are_sorted(&self) -> bool {
        self.list.is_sorted_by(|a, b| by_code_units(self.name(a), self.name(b)).is_lt())
    }

    /// Brings the members, which fill the text from `begin` on, into order. Of those with one name the
    /// last is left, as most readers have it.
    fn sort(mut self, text: &mut Vec<u8>, begin: usize) {
        let mut list = std::mem::take(&mut self.list);
        // Stable: those with one name stay in the order in which they came.
        list.sort_by(|a, b| by_code_units(self.name(a), self.name(b)));
        let mut sorted = Vec::with_capacity(text.len() - begin);
        for (index, member) in list.iter().enumerate() {
            let next = list.get(index + 1).map(|next| self.name(next));
            if next != Some(self.name(member)) {
                let [at, end] = member.text;
                sorted.extend_from_slice(&text[at as usize..end as usize]);
            }
        }
        text.truncate(begin);
        text.append(&mut sorted);
    }
}

/// The order of RFC 8785, which is that of JavaScript.
fn by_code_units(a: &str, b: &str) -> std::cmp::Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

fn write_string(text: &mut Vec<u8>, value: &str) {
    // Exactly RFC 8785's form: short escapes where there are some, \u00xx in lower case for other
    // control characters, and everything else as it is.
    serde_json::to_writer(text, value).expect("a vector takes everything");
}

/// A number as JavaScript writes it: the fewest digits that read back as the same number.
fn write_float(text: &mut Vec<u8>, value: f64) {
    if value == 0.0 {
        return text.push(b'0');
    }
    if value < 0.0 {
        text.push(b'-');
    }
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').expect("it was asked for");
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let count = digits.len() as i32;
    // The decimal point is after so many digits.
    let point = exponent.parse::<i32>().expect("a small number") + 1;
    let zeros = |many: i32| "0".repeat(many.max(0) as usize);
    let written = match point {
        _ if (count..=21).contains(&point) => digits + &zeros(point - count),
        1..=21 => format!("{}.{}", &digits[..point as usize], &digits[point as usize..]),
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{:+}", point - 1)
        }
    };
    text.extend_from_slice(written.as_bytes());
}
