//! Whether the library can parse a content header, and the header that stands in for one it can't.

use std::fmt;

/// The header that stands in for all others of a message whose own can't be parsed. Its value says why.
///
/// A producer that sets it itself has its own message set aside, and no other.
pub const MALFORMED_HEADER: &str = "x-sandfleet-malformed";

/// How deep tables and arrays may nest. The library parses them by recursion on a thread with 2 MiB of
/// stack, which a few hundred levels use up. RabbitMQ itself nests three levels in `x-death`.
const MAX_DEPTH: usize = 16;

/// Class, weight and body size.
const FIXED_BYTES: usize = 12;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    ShortString,
    Table,
    Octet,
    Timestamp,
}

/// The properties of a message in the order of their flags, highest bit first.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::ShortString),
    ("content_encoding", Kind::ShortString),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Octet),
    ("priority", Kind::Octet),
    ("correlation_id", Kind::ShortString),
    ("reply_to", Kind::ShortString),
    ("expiration", Kind::ShortString),
    ("message_id", Kind::ShortString),
    ("timestamp", Kind::Timestamp),
    ("type", Kind::ShortString),
    ("user_id", Kind::ShortString),
    ("app_id", Kind::ShortString),
    ("cluster_id", Kind::ShortString),
];
const HEADERS: usize = 2;

/// Why the library can't parse something.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    TooLong { bytes: u64, limit: usize },
    TooDeep,
    NotUtf8(&'static str),
    UnknownType(u8),
    CutShort(&'static str),
    Excess(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, limit } => {
                write!(
                    f,
                    "the frame with its properties is {bytes} bytes long; the limit is {limit}"
                )
            }
            Self::TooDeep => write!(f, "headers: nested more than {MAX_DEPTH} levels deep"),
            Self::NotUtf8(what) => write!(f, "{what}: not UTF-8"),
            Self::UnknownType(tag) => write!(f, "headers: a value of unknown type {tag:#04x}"),
            Self::CutShort(what) => write!(f, "{what}: longer than what holds it"),
            Self::Excess(bytes) => write!(f, "{bytes} bytes follow the last property"),
        }
    }
}

/// A content header: those of its properties that are sound, and the first fault in it.
pub(super) struct Header<'a> {
    payload: &'a [u8],
    /// Their places in [`PROPERTIES`], and their bytes.
    sound: Vec<(usize, &'a [u8])>,
    pub(super) fault: Option<Fault>,
}

impl<'a> Header<'a> {
    /// Reads the payload of a content header frame.
    pub(super) fn read(payload: &'a [u8]) -> Self {
        let mut header = Self { payload, sound: Vec::new(), fault: None };
        let mut fields = Fields(payload.get(FIXED_BYTES..).unwrap_or_default());
        let last = header.properties(&mut fields).err();
        header.fault = header.fault.or(last);
        header
    }

    /// An error is a fault after which nothing is known of what follows.
    fn properties(&mut self, fields: &mut Fields<'a>) -> Result<(), Fault> {
        let flags = fields.number::<2>("properties")?;
        for (index, (name, kind)) in PROPERTIES.into_iter().enumerate() {
            if flags & (1 << (15 - index)) == 0 {
                continue;
            }
            let from = fields.0;
            let checked = match kind {
                Kind::ShortString => utf8(fields.short(name)?, name),
                Kind::Table => table(Fields(fields.long(name)?), 1),
                Kind::Octet => fields.take(1, name).map(|_| Ok(()))?,
                Kind::Timestamp => fields.take(8, name).map(|_| Ok(()))?,
            };
            match checked {
                Ok(()) => self.sound.push((index, &from[..from.len() - fields.0.len()])),
                Err(fault) => {
                    self.fault.get_or_insert(fault);
                }
            }
        }
        if fields.0.is_empty() { Ok(()) } else { Err(Fault::Excess(fields.0.len())) }
    }

    /// The payload of a header for the same body with the sound properties of this one, but for its
    /// headers: there [`MALFORMED_HEADER`] says `why`.
    pub(super) fn substitute(&self, why: &str) -> Vec<u8> {
        let mut table = short_string(MALFORMED_HEADER);
        table.push(b'S');
        table.extend(long_string(why.as_bytes()));
        let headers = long_string(&table);
        let mut properties: Vec<_> =
            self.sound.iter().copied().filter(|(index, _)| *index != HEADERS).collect();
        properties.push((HEADERS, &headers));
        properties.sort_by_key(|(index, _)| *index);

        let mut payload = self.payload.get(..FIXED_BYTES).unwrap_or(&[0; FIXED_BYTES]).to_vec();
        let flags = properties.iter().fold(0_u16, |flags, (index, _)| flags | 1 << (15 - index));
        payload.extend(flags.to_be_bytes());
        for (_, bytes) in properties {
            payload.extend(bytes);
        }
        payload
    }
}

/// What is left to read of something.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Fault::CutShort(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const BYTES: usize>(&mut self, what: &'static str) -> Result<usize, Fault> {
        let bytes = self.take(BYTES, what)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A string with its length in one byte.
    pub(super) fn short(&mut self, what: &'static str) -> Result<&'a [u8], Fault> {
        let bytes = self.number::<1>(what)?;
        self.take(bytes, what)
    }

    /// What has its length in four bytes.
    pub(super) fn long(&mut self, what: &'static str) -> Result<&'a [u8], Fault> {
        let bytes = self.number::<4>(what)?;
        self.take(bytes, what)
    }
}

fn utf8(bytes: &[u8], what: &'static str) -> Result<(), Fault> {
    std::str::from_utf8(bytes).map(drop).map_err(|_| Fault::NotUtf8(what))
}

fn table(mut fields: Fields<'_>, depth: usize) -> Result<(), Fault> {
    while !fields.0.is_empty() {
        utf8(fields.short("the name of a header")?, "the name of a header")?;
        value(&mut fields, depth)?;
    }
    Ok(())
}

fn array(mut fields: Fields<'_>, depth: usize) -> Result<(), Fault> {
    while !fields.0.is_empty() {
        value(&mut fields, depth)?;
    }
    Ok(())
}

/// The types are those of `AMQPType::from_id`, not those of the specification.
pub(super) fn value(fields: &mut Fields<'_>, depth: usize) -> Result<(), Fault> {
    const WHAT: &str = "the value of a header";
    let tag = fields.take(1, WHAT)?[0];
    let bytes = match tag {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' => return fields.long(WHAT).map(drop),
        b'A' | b'F' if depth == MAX_DEPTH => return Err(Fault::TooDeep),
        b'A' => return array(Fields(fields.long(WHAT)?), depth + 1),
        b'F' => return table(Fields(fields.long(WHAT)?), depth + 1),
        _ => return Err(Fault::UnknownType(tag)),
    };
    fields.take(bytes, WHAT).map(drop)
}

fn short_string(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a name of ours");
    [&[length], text.as_bytes()].concat()
}

fn long_string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a reason is short");
    [&length.to_be_bytes(), bytes].concat()
}
