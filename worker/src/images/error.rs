//! What keeps an image from being made, kept or used.

/// A sentence that names the thing, and how to fix it where that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", self.fix.as_ref().map_or_else(String::new, |fix| format!("; to fix: {fix}")))]
pub struct ImageError {
    reason: String,
    fix: Option<String>,
}

impl ImageError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: None }
    }

    pub(crate) fn with_fix(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: Some(fix.into()) }
    }

    /// What can't be done with `path`.
    pub(super) fn of(path: &std::path::Path, error: impl std::fmt::Display) -> Self {
        Self::new(format!("{}: {error}", path.display()))
    }
}
