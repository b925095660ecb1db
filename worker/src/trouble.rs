//! Why something that a worker can't do without doesn't work.

use std::fmt;

use sandfleet_transport::{Error, Refusal, StoreError};

/// One sentence, and whether waiting can help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, with what, and what to do about it.
    pub reason: String,
    /// What kind of refusal it is, if only another configuration helps.
    pub refusal: Option<Refusal>,
    /// Whether it is being found out what is wrong, so that this reason isn't worth a line yet.
    pub is_passing: bool,
}

impl Trouble {
    /// Trouble whose reason is about to be known.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { is_passing: true, ..reason.into().into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self { reason, refusal: None, is_passing: false }
    }
}

impl From<&str> for Trouble {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        Self { refusal: error.refusal(), ..error.to_string().into() }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self { refusal: error.refusal, ..error.to_string().into() }
    }
}
