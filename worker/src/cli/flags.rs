//! The flags of every command, for a test that tries them all.

use clap::{Arg, Command, CommandFactory};

use super::CommandLine;

/// A flag or argument of a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag {
    /// The command, such as `run`.
    pub command: String,
    /// `--name`, or `NAME` for an argument without one.
    pub name: String,
}

/// All flags and arguments of all commands, from the command line's own definition.
pub fn all() -> Vec<Flag> {
    let tree = CommandLine::command();
    let mut flags = Vec::new();
    let global: Vec<_> = tree.get_arguments().filter(|it| it.is_global_set()).collect();
    for command in tree.get_subcommands() {
        collect(command, command.get_name(), &global, &mut flags);
    }
    flags
}

/// The flags of a command and of those below it, which are called `queue list`.
fn collect(command: &Command, name: &str, global: &[&Arg], flags: &mut Vec<Flag>) {
    // Global flags belong to every command.
    for argument in global.iter().copied().chain(command.get_arguments()) {
        let flag = match argument.get_long() {
            Some(long) => format!("--{long}"),
            None => argument.get_id().to_string().to_uppercase(),
        };
        flags.push(Flag { command: name.to_owned(), name: flag });
    }
    for below in command.get_subcommands() {
        collect(below, &format!("{name} {}", below.get_name()), global, flags);
    }
}
