//! The flags of every command, for a test that tries them all.

use clap::CommandFactory;

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
    for command in tree.get_subcommands() {
        // Global flags belong to every command.
        let arguments = tree.get_arguments().filter(|it| it.is_global_set());
        for argument in arguments.chain(command.get_arguments()) {
            let name = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => argument.get_id().to_string().to_uppercase(),
            };
            flags.push(Flag { command: command.get_name().to_owned(), name });
        }
    }
    flags
}
