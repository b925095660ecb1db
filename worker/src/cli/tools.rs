//! Commands for building images and documentation.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::{admission::catalogue, config, doctor::threat_model, metrics, sandbox::agent_binary};

#[derive(Args)]
pub(super) struct AgentArguments {
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Where to write the module that Python imports at its start
    #[arg(long, value_name = "FILE")]
    python_module: Option<PathBuf>,
}

pub(super) fn write_agent(arguments: &AgentArguments) -> Result<ExitCode, Failure> {
    let agent = (&arguments.output, agent_binary::BINARY, 0o555);
    let module = arguments.python_module.as_ref();
    let module = module.map(|path| (path, agent_binary::PYTHON_MODULE, 0o444));
    for (path, content, mode) in [agent].into_iter().chain(module) {
        fs::write(path, content)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .map_err(|error| Exit::Usage.with(format!("{}: {error}", path.display())))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub(super) struct DocsArguments {
    /// Which page
    page: Page,
}

#[derive(Clone, Copy, ValueEnum)]
enum Page {
    Configuration,
    Metrics,
    ExitCodes,
    Languages,
    ThreatModel,
}

pub(super) fn print_reference(arguments: &DocsArguments) -> Result<ExitCode, Failure> {
    let text = match arguments.page {
        Page::Configuration => config::reference(),
        Page::Metrics => metrics::reference(),
        Page::ExitCodes => exit_codes(),
        Page::Languages => catalogue::reference(),
        Page::ThreatModel => threat_model::page(),
    };
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The page docs/exit-codes.md.
fn exit_codes() -> String {
    let mut page = String::from(
        "# Exit codes\n\n`sandfleet run`, `submit --wait` and `result` end with the program's own \
         exit code if it came to its end, and with 128 and the signal's number if one ended it. \
         All else has a code of its own; since a program may use the same, `--json` is the sure \
         way to tell.\n\n| code | meaning |\n|---|---|\n",
    );
    for (code, meaning) in Exit::ALL {
        page.push_str(&format!("| {code} | {} |\n", meaning.trim()));
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_of_exit_codes_says_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/exit-codes.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == super::exit_codes(),
            "docs/exit-codes.md is stale; run: cargo run -- docs exit-codes > docs/exit-codes.md"
        );
    }
}
