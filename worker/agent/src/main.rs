//! The agent's binary. Its first argument names its role: PID 1 of a container, the launcher of a slot, a zygote
//! or PID 1 of a warm container (`attend`).
use std::process::ExitCode;

#[expect(unsafe_code, reason = "this process has one thread and owns its descriptors")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (role, fds) = (arguments.next(), arguments.next());
    // SAFETY: no thread has been started, and no descriptor has been opened or taken over.
    let served = unsafe {
        match role.as_deref() {
            Some("serve") => sandfleet_agent::init::session::serve_standard_streams(),
            Some("launch") => sandfleet_agent::launcher::serve(),
            Some("zygote") => sandfleet_agent::warm::become_interpreter(),
            Some("attend") => sandfleet_agent::warm::attend(&fds.unwrap_or_default()),
            _ => {
                eprintln!(
                    "sandfleet-agent is started by sandfleet only: its first argument has to be serve, launch, zygote or attend"
                );
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
