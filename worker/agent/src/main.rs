//! The agent's binary: one part it plays, named by its first argument.
use std::process::ExitCode;

#[expect(unsafe_code, reason = "says that this is a process of its own")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (part, fds) = (arguments.next(), arguments.next());
    // SAFETY: no thread has been started and no descriptor been opened or taken over so far.
    let served = unsafe {
        match part.as_deref() {
            Some("serve") => sandfleet_agent::session::serve_standard_streams(),
            Some("launch") => sandfleet_agent::launch::serve(),
            Some("zygote") => sandfleet_agent::zygote::become_interpreter(),
            Some("attend") => sandfleet_agent::zygote::attend(&fds.unwrap_or_default()),
            _ => {
                eprintln!("sandfleet-agent is started by sandfleet, as one of its parts");
                return ExitCode::from(64);
            }
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
