//! The agent's binary: one part it plays, named by its only argument.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let part = std::env::args().nth(1);
    let served = match part.as_deref() {
        Some("serve") => sandfleet_agent::session::serve_standard_streams(),
        Some("launch") => sandfleet_agent::launch::serve(),
        Some("zygote") => sandfleet_agent::zygote::become_interpreter(),
        _ => {
            eprintln!("sandfleet-agent is started by sandfleet, as `serve`, `launch` or `zygote`");
            return ExitCode::from(64);
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandfleet-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
