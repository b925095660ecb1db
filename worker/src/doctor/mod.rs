//! Checks of this host and its services, each with its fix.

pub mod attack;
mod barriers;
mod confinement;
mod finding;
mod host;
mod kernels;
mod services;
mod table_age;

use sandfleet_common::printable_line;

pub use finding::{Finding, State};

use crate::config::{Backend, Settings};

/// The longest text in a table.
const MAX_CELL_BYTES: usize = 4 << 10;
/// A longer name pushes its own line to the right, and no other.
const MAX_NAME_WIDTH: usize = 60;

/// Checks everything; takes a few seconds at most if a service doesn't answer.
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
