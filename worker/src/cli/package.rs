//! What a package of the binary brings along: its version, manual pages and shell completions.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use sandfleet_common::{PROTOCOL_MINOR, PROTOCOL_VERSION};

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::sandbox::agent_binary;

const NAME: &str = "sandfleet";

#[derive(Args)]
pub(super) struct VersionArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn print_version(arguments: &VersionArguments) -> Result<ExitCode, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if arguments.json {
        let object = serde_json::json!({
            "version": version,
            "protocol": format!("{PROTOCOL_VERSION}.{PROTOCOL_MINOR}"),
            "agent_sha256": agent_binary::digest(),
            "architecture": std::env::consts::ARCH,
        });
        terminal::print_line(terminal::json(&object))?;
    } else {
        terminal::print_line(format_args!("{NAME} {version}"))?;
    }
    Ok(Exit::Success.into())
}

#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// For which shell
    shell: Shell,
}

/// Of all the commands of `tree`.
pub(super) fn print_completions(
    arguments: &CompletionsArguments,
    mut tree: Command,
) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut tree, NAME, &mut script);
    let script = String::from_utf8(script).map_err(|error| Exit::Internal.because(error))?;
    terminal::print(&script)?;
    Ok(Exit::Success.into())
}

#[derive(Args)]
pub(super) struct ManArguments {
    /// Where to write them; it is made if it isn't there
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// A page for `sandfleet` and one for each command that its help lists.
pub(super) fn write_man_pages(
    arguments: &ManArguments,
    tree: Command,
) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| {
        Exit::Usage.with(format!("--output {}: {error}", arguments.output.display()))
    };
    fs::create_dir_all(&arguments.output).map_err(failed)?;
    for page in pages(tree) {
        let file = arguments.output.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text).map_err(failed)?;
        fs::write(file, text).map_err(failed)?;
    }
    Ok(Exit::Success.into())
}

pub(super) fn pages(mut tree: Command) -> Vec<Man> {
    // With it the pages would link to one of the command `help`.
    tree = tree.disable_help_subcommand(true);
    // Gives each command the global flags and its whole name.
    tree.build();
    let mut commands = Vec::new();
    below(&tree, NAME, &mut commands);
    [tree].into_iter().chain(commands).map(|it| Man::new(it).manual("sandfleet")).collect()
}

/// The commands below one, and those below them, by the names of their pages.
fn below(command: &Command, name: &str, pages: &mut Vec<Command>) {
    for it in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = format!("{name}-{}", it.get_name());
        pages.push(it.clone().display_name(name.clone()));
        below(it, &name, pages);
    }
}
