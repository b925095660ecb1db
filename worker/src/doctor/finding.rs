//! What a check has found.

use serde::{Deserialize, Serialize};

/// The area of broker and store.
pub const SERVICES: &str = "services";

/// One point that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: `worker`, `host`, `native`, `docker` or `services`.
    pub area: &'static str,
    /// What was checked.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do about it, if something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it has to be.
    Ok,
    /// Works, but a careful operator changes it.
    Warning,
    /// Not there.
    Missing,
    /// Not checked, because something that it needs is missing.
    Untried,
    /// Not there, and not needed.
    Unused,
}

impl State {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "MISSING",
            State::Untried => "untried",
            State::Unused => "unused",
        }
    }
}

impl Finding {
    /// Whether it is needed and not there.
    pub(super) fn is_lacking(&self) -> bool {
        matches!(self.state, State::Missing | State::Untried)
    }

    pub(super) fn ok(
        area: &'static str,
        name: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { area, name: name.into(), state: State::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn bad(
        area: &'static str,
        name: impl Into<String>,
        state: State,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let fix = Some(fix.into());
        Self { area, name: name.into(), state, detail: detail.into(), fix }
    }
}
