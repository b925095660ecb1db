//! What keeps an image from being made, kept or used.

/// A sentence that names the thing, and how to fix it where that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", self.fix.as_ref().map_or_else(String::new, |fix| format!("; to fix: {fix}")))]
pub struct ImageError {
    reason: String,
    fix: Option<String>,
    /// What a command said that failed, in lines.
    pub(crate) said: String,
}

impl ImageError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: None, said: String::new() }
    }

    pub(super) fn saying(self, said: String) -> Self {
        Self { said, ..self }
    }

    pub(super) fn or_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: self.fix.or_else(|| Some(fix.into())), ..self }
    }

    pub(crate) fn with_fix(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: Some(fix.into()), said: String::new() }
    }

    /// What can't be done with `path`.
    pub(super) fn of(path: &std::path::Path, error: impl std::fmt::Display) -> Self {
        Self::new(format!("{}: {error}", path.display()))
    }
}
