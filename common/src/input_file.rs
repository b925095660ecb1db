//! Files that a job brings along.

use serde::{Deserialize, Serialize};

use crate::{Content, Encoding};

/// A file that the program finds in its working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct InputFile {
    /// A relative path of normal components.
    pub name: String,
    /// The content, in `encoding`.
    pub content: String,
    /// How `content` stands for bytes.
    #[serde(default)]
    pub encoding: Encoding,
}

impl InputFile {
    /// A file of these bytes, which is called `name`.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let Content { text, encoding } = Content::from_bytes(bytes.into());
        Self { name: name.into(), content: text, encoding }
    }
}
