//! Which languages a sandbox has: whether their files are in its root tree, and what they say of their versions.

use std::{collections::BTreeSet, path::Path};

use sandfleet_common::Limits;

use super::catalogue::{Bounds, Catalogue, Language};
use crate::sandbox::{Outcome, Plan, Sandbox, SandboxError, smallest_plan};

/// Prints those of its arguments that are files, a line each.
const FIND: &str = r#"for file; do if [ -f "$file" ]; then printf '%s\n' "$file"; fi; done"#;
/// The longest version that is shown.
const MAX_VERSION: usize = 80;

/// `catalogue` with the languages for installed that `sandbox` has.
///
/// # Errors
/// If the sandbox runs nothing.
pub async fn in_sandbox(
    sandbox: &dyn Sandbox,
    catalogue: &Catalogue,
) -> Result<Catalogue, SandboxError> {
    let script = ["/bin/sh", "-c", FIND, "sh"].map(str::to_owned);
    let files = catalogue.files().into_iter().map(str::to_owned);
    let outcome = run(sandbox, script.into_iter().chain(files).collect(), Vec::new()).await?;
    let found = String::from_utf8_lossy(&outcome.stdout.head).lines().map(str::to_owned).collect();
    Ok(catalogue.clone().with_files(&found))
}

/// `catalogue` with the languages for installed that this host has, which the native sandbox takes them from.
pub fn on_this_host(catalogue: &Catalogue) -> Catalogue {
    let files = catalogue.files().into_iter().filter(|file| Path::new(file).is_file());
    let found: BTreeSet<String> = files.map(str::to_owned).collect();
    catalogue.clone().with_files(&found)
}

/// What `language` says of its version in `sandbox`: the first line, bounded.
///
/// # Errors
/// If the sandbox runs nothing.
pub async fn version(
    sandbox: &dyn Sandbox,
    language: &Language,
) -> Result<Option<String>, SandboxError> {
    if language.version.is_empty() {
        return Ok(None);
    }
    let bounds = Bounds::of(&Limits::default(), 1.0);
    let environment = language.environment(&Default::default(), bounds);
    let outcome = run(sandbox, language.version.clone(), environment).await?;
    let said = [outcome.stdout.head, outcome.stderr.head].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(line.map(|line| line.chars().take(MAX_VERSION).collect()))
}

async fn run(
    sandbox: &dyn Sandbox,
    command: Vec<String>,
    environment: Vec<(String, String)>,
) -> Result<Outcome, SandboxError> {
    let plan = Plan { command, environment, ..smallest_plan() };
    sandbox.run(&plan, &|_, _| ()).await
}
