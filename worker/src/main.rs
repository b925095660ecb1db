//! The `sandfleet` binary: everything is in the library, for tests to reach.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sandfleet_worker::cli::main()
}
