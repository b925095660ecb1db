//! Bytes inside JSON: text as it is, everything else as base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// How a `content` string stands for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "kebab-case")]
pub enum Encoding {
    /// The string's UTF-8 bytes are the content.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// The string is the content in standard base64 with padding.
    Base64,
}

/// A string and how it stands for bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The text that goes into the JSON.
    pub text: String,
    /// How to read it.
    pub encoding: Encoding,
}

impl Content {
    /// Keeps valid UTF-8 readable and carries anything else as base64, losing nothing.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, encoding: Encoding::Utf8 },
            Err(error) => {
                Self { text: STANDARD.encode(error.as_bytes()), encoding: Encoding::Base64 }
            }
        }
    }
}

impl Encoding {
    /// Whether it is the default, which isn't sent: a job without the field is what older workers know.
    pub(crate) fn is_utf8(&self) -> bool {
        *self == Encoding::Utf8
    }

    /// The bytes that `text` stands for, or why it stands for none.
    pub fn decode(self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Encoding::Utf8 => Ok(text.as_bytes().to_vec()),
            Encoding::Base64 => STANDARD.decode(text).map_err(|error| error.to_string()),
        }
    }

    /// Puts `bytes` into a string in this encoding; `None` if they aren't UTF-8 and should be.
    pub fn encode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Encoding::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Encoding::Base64 => Some(STANDARD.encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        for bytes in [b"plain".to_vec(), vec![0xff, 0, 0xc3, 0x28], vec![], "ä\0".into()] {
            let content = Content::from_bytes(bytes.clone());
            assert_eq!(content.encoding.decode(&content.text), Ok(bytes));
        }
        assert!(Encoding::Base64.decode("!!!!").is_err());
    }
}
