//! What the worker and a zygote say to each other.

use serde::{Deserialize, Serialize};

/// Where the interpreter finds the files that it was given.
pub const DIRECTORY: &str = "/tmp";

/// What the worker says to a zygote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// First of all: become the interpreter. Comes with a descriptor for each of `files`.
    Become {
        /// The directory whose programs it is of: `/` for the host's, or an image's root tree.
        root: String,
        /// The command; the first element is an absolute path in there.
        command: Vec<String>,
        /// The whole environment.
        environment: Vec<(String, String)>,
        /// The name of the file that programs are in, which the interpreter looks for.
        program: String,
        /// Names of files to have in [`DIRECTORY`].
        files: Vec<String>,
    },
    /// Make a copy that is a launcher. Comes with its socket.
    Copy {
        /// Whether PID 1 of its containers starts in the copy's own memory, as after vfork(2).
        vfork: bool,
    },
}

/// What a zygote says to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Everything is loaded; it can be copied.
    Ready,
    /// A copy was made.
    Copied {
        /// Its PID.
        process: u32,
    },
    /// It couldn't become a zygote this time; another try may succeed.
    Failed {
        /// Why.
        reason: String,
    },
    /// The interpreter is one that this code doesn't know, so programs have to start cold. Sent by
    /// `sitecustomize.py`, before it loads any of this code.
    Unfit {
        /// Why.
        reason: String,
    },
}
