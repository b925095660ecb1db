//! Job ids.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;

/// The name of one job: 1 to 64 characters of `[A-Za-z0-9_-]`.
///
/// The alphabet is narrow because the id becomes part of Redis keys, container names and log
/// lines; nothing has to be escaped anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// The text is not a job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job id is {0}; use 1 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct InvalidJobId(String);

impl JobId {
    /// The longest id, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// A new id (UUID version 7), so that ids sort by the time they were made.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id of the job that `tenant` submits under the idempotency key `key`: the same pair gives
    /// the same id, with no table of keys that could be lost.
    pub fn of_key(tenant: Option<&str>, key: &str) -> Self {
        // No tenant has a NUL in its name, so no two pairs give the same text.
        let text = format!("{}\0{key}", tenant.unwrap_or_default());
        Self(format!("key-{}", hexadecimal(&Sha256::digest(text.as_bytes())[..20])))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        if text.is_empty() {
            return Err(InvalidJobId("empty".into()));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidJobId(format!("{} bytes long", text.len())));
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_' && *c != '-') {
            Some(bad) => Err(InvalidJobId(format!("not plain text: it holds {bad:?}"))),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_short_ids_are_accepted() {
        for good in ["a", "A_b-9", &"x".repeat(64), "__proto__"] {
            assert_eq!(good.parse::<JobId>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a/b", "ä", "a\0", "{a}", &"x".repeat(65)] {
            assert!(bad.parse::<JobId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_key_is_an_id_for_each_tenant() {
        let ids = [
            JobId::of_key(None, "k"),
            JobId::of_key(Some("a"), "k"),
            JobId::of_key(Some("b"), "k"),
            JobId::of_key(None, "l"),
        ];
        assert!((1..ids.len()).all(|i| !ids[..i].contains(&ids[i])), "{ids:?}");
        assert_eq!(ids[0], JobId::of_key(None, "k"));
        assert_eq!(ids[0].as_str(), "key-f6dc1034b093dd79d1b96f328cb1e489ff00868c", "for ever");
        assert_eq!(ids[0].as_str().parse::<JobId>(), Ok(ids[0].clone()));
    }

    #[test]
    fn generated_ids_are_valid_and_differ() {
        let (a, b) = (JobId::generate(), JobId::generate());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<JobId>(), Ok(a.clone()));
    }
}
