//! The flags of every command, for a test that tries them all.

use clap::{Arg, Command, CommandFactory};

use super::CommandLine;

/// A flag or argument of a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag {
    /// The command, such as `run` or `images build`.
    pub command: String,
    /// `--name`, or `NAME` for an argument without one.
    pub name: String,
}

/// All flags and arguments of all commands, from the command line's own definition.
pub fn all() -> Vec<Flag> {
    let mut flags = Vec::new();
    add(&CommandLine::command(), &[], "", &mut flags);
    flags
}

/// Adds those of the commands below `tree`, which is called `path` and has the global flags `above`.
fn add(tree: &Command, above: &[&Arg], path: &str, flags: &mut Vec<Flag>) {
    let own = tree.get_arguments().filter(|it| it.is_global_set());
    // Global flags belong to every command.
    let global: Vec<&Arg> = above.iter().copied().chain(own).collect();
    for command in tree.get_subcommands() {
        let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
        if !command.is_subcommand_required_set() {
            for argument in global.iter().copied().chain(command.get_arguments()) {
                let name = match argument.get_long() {
                    Some(long) => format!("--{long}"),
                    None => argument.get_id().to_string().to_uppercase(),
                };
                flags.push(Flag { command: path.clone(), name });
            }
        }
        add(command, &global, &path, flags);
    }
}
