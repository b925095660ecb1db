//! Checks of this host and its services, each with its fix.

pub mod attack;
mod barriers;
pub mod claims;
mod confinement;
mod default_users;
mod finding;
mod host;
mod image_age;
mod kernels;
pub mod report;
mod services;
mod table_age;
pub mod threat_model;

use std::future::ready;

use sandfleet_common::printable_line;

pub use finding::{Finding, SERVICES, State};

use crate::{
    backend::{self, Resolved},
    config::{Backend, BackendChoice, Settings},
};

/// The area of what a worker as a whole would do.
const WORKER: &str = "worker";
/// The longest text in a table.
const MAX_CELL_BYTES: usize = 4 << 10;
/// A longer name pushes its own line to the right, and no other.
const MAX_NAME_WIDTH: usize = 60;

/// What has to work.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Which sandbox.
    pub sandbox: BackendChoice,
    /// Whether broker and store do, too.
    pub services: bool,
}

/// Checks everything; takes a few seconds at most if a service doesn't answer. What is not there and not needed is
/// `unused` and no longer `missing`.
pub async fn examine(settings: &Settings, needs: Needs) -> Vec<Finding> {
    let settings = &backend::settings_for(needs.sandbox, settings);
    let (host, native, docker, broker, store) = tokio::join!(
        host::host(settings),
        barriers::native(settings),
        barriers::docker(settings),
        services::broker(settings),
        services::store(settings),
    );
    let (native_works, docker_works) = (ready(native.works), ready(docker.works));
    let resolved = backend::resolve(needs.sandbox, native_works, docker_works).await;
    let mut used = vec![WORKER, host::HOST];
    used.extend(needs.services.then_some(SERVICES));
    match &resolved {
        Ok(resolved) => used.push(area(resolved.backend)),
        Err(_) => used.extend(match needs.sandbox {
            BackendChoice::Auto => vec![barriers::NATIVE, barriers::DOCKER],
            BackendChoice::Native => vec![barriers::NATIVE],
            BackendChoice::Docker => vec![barriers::DOCKER],
        }),
    }
    let sandbox = match &resolved {
        Ok(Resolved { backend, why, .. }) => {
            Finding::ok(WORKER, "sandbox", format!("{}: {why}", area(*backend)))
        }
        Err(error) => {
            let (detail, fix) = error.parts();
            let fix = fix.unwrap_or("see the reason");
            Finding::bad(WORKER, "sandbox", State::Missing, detail, fix)
        }
    };
    let found = [native.findings, docker.findings, broker, store].concat();
    let mut findings = [vec![sandbox], host, found].concat();
    for finding in &mut findings {
        if finding.is_lacking() && !used.contains(&finding.area) {
            finding.state = State::Unused;
        }
    }
    findings
}

fn area(backend: Backend) -> &'static str {
    match backend {
        Backend::Native => barriers::NATIVE,
        Backend::Docker => barriers::DOCKER,
    }
}

/// What is needed and not there.
pub fn missing(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.is_lacking()).collect()
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
    fn what_was_not_tried_is_missing_and_what_only_warns_is_not() {
        let bad = |name, state| Finding::bad(barriers::NATIVE, name, state, "", "x");
        let findings = [
            Finding::ok(barriers::NATIVE, "a", ""),
            bad("b", State::Warning),
            bad("c", State::Missing),
            bad("d", State::Untried),
            bad("e", State::Unused),
        ];
        let names: Vec<_> = missing(&findings).iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["c", "d"]);
    }

    #[test]
    fn the_table_says_what_to_do() {
        let table = table(&[Finding::bad("native", "seccomp", State::Missing, "no", "do this")]);
        assert!(table.contains("MISSING") && table.contains("to do: do this"), "{table}");
    }
}
