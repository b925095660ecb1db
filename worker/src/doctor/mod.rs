//! What this host and its services can give, each point with its fix.

pub mod attack;
mod barriers;
mod confinement;
mod host;
mod kernels;
mod services;
mod table_age;

use sandfleet_common::printable_line;
use serde::Serialize;

use crate::config::{Backend, Settings};

/// The longest text in a table.
const MAX_CELL_BYTES: usize = 4 << 10;
/// A longer name pushes its own line to the right, and no other.
const MAX_NAME_WIDTH: usize = 60;

/// One point that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: `host`, `native`, `docker` or `services`.
    pub area: &'static str,
    /// What was looked at.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it has to be.
    Ok,
    /// Works, but a careful operator changes it.
    Warning,
    /// Not there.
    Missing,
    /// Not looked at, because something that it needs is missing.
    Untried,
}

impl State {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "MISSING",
            State::Untried => "untried",
        }
    }
}

impl Finding {
    fn ok(area: &'static str, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { area, name: name.into(), state: State::Ok, detail: detail.into(), fix: None }
    }

    fn bad(
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

/// Looks at everything; takes a few seconds at most where a service doesn't answer.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let (host, native, docker, broker, store) = tokio::join!(
        host::host(settings),
        barriers::native(settings),
        barriers::docker(settings),
        services::broker(settings),
        services::store(settings),
    );
    [host, native, docker, broker, store].concat()
}

/// Whether `backend` can be complete on this host, by what was found.
pub fn is_complete(findings: &[Finding], backend: Backend) -> bool {
    let area = match backend {
        Backend::Native => barriers::NATIVE,
        Backend::Docker => barriers::DOCKER,
    };
    findings
        .iter()
        .filter(|finding| finding.area == area)
        .all(|finding| matches!(finding.state, State::Ok | State::Warning))
}

/// The findings as a table for people.
pub fn table(findings: &[Finding]) -> String {
    let width = |text: fn(&Finding) -> usize| findings.iter().map(text).max().unwrap_or(0);
    let (areas, names) = (width(|f| f.area.len()), width(|f| f.name.len()).min(MAX_NAME_WIDTH));
    let mut table = String::new();
    for Finding { area, name, state, detail, fix } in findings {
        let state = state.as_str();
        let [name, detail] = [name, detail].map(shown);
        table.push_str(&format!("{area:areas$}  {name:names$}  {state:7}  {detail}\n"));
        if let Some(fix) = fix {
            let indent = areas + names + 13;
            table.push_str(&format!("{:indent$}to do: {}\n", "", shown(fix)));
        }
    }
    table
}

/// A cell of the table: what it quotes of services and engines gets no line of its own.
fn shown(cell: &String) -> String {
    printable_line(cell, MAX_CELL_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_complete_when_nothing_of_it_is_missing() {
        let mut findings = vec![
            Finding::ok(barriers::NATIVE, "a", ""),
            Finding::bad(barriers::NATIVE, "b", State::Warning, "", "x"),
            Finding::bad(barriers::DOCKER, "c", State::Missing, "", "x"),
        ];
        assert!(is_complete(&findings, Backend::Native));
        assert!(!is_complete(&findings, Backend::Docker));
        findings.push(Finding::bad(barriers::NATIVE, "d", State::Untried, "", "x"));
        assert!(!is_complete(&findings, Backend::Native));
    }

    #[test]
    fn the_table_says_what_to_do() {
        let table = table(&[Finding::bad("native", "seccomp", State::Missing, "no", "do this")]);
        assert!(table.contains("MISSING") && table.contains("to do: do this"), "{table}");
    }
}
