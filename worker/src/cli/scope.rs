//! A control group to work below, on hosts where systemd owns them all.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::{app, config::Settings, sandbox::native};

/// Set in the process that was started again, so that it is started again only once.
const MARK: &str = "_SANDFLEET_SCOPE";

/// Starts this command again in a scope of its own with delegated controllers, if it has none
/// here and systemd can give one; otherwise returns, and the sandbox says what is missing.
pub(super) fn obtain(settings: &Settings) {
    let systemd = Path::new("/run/systemd/system").exists();
    if !systemd || std::env::var_os(MARK).is_some() {
        return;
    }
    if native::describe_cgroups(&app::native_config(settings)).is_ok() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let arguments = scope_arguments(rustix::process::geteuid().is_root());
    // Once it has taken our place there is no way back, so it shows first that it can.
    let granted = systemd_run(&arguments)
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !granted {
        return;
    }
    let mut command = systemd_run(&arguments);
    command.arg(program).args(std::env::args_os().skip(1)).env(MARK, "1");
    // Comes back only if it failed, and then the refusal that follows names the same way out.
    let error = command.exec();
    tracing::debug!(%error, "systemd-run can't be started");
}

/// The command, with the way to the user's own manager: `sudo -u` doesn't set it, and `su` leaves
/// somebody else's.
fn systemd_run(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(arguments);
    let directory = format!("/run/user/{}", rustix::process::geteuid().as_raw());
    if Path::new(&directory).exists() {
        command.env("XDG_RUNTIME_DIR", directory);
    }
    command
}

fn scope_arguments(is_root: bool) -> Vec<&'static str> {
    let manager = if is_root { "--system" } else { "--user" };
    vec![manager, "--scope", "--quiet", "--property=Delegate=yes", "--"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_asks_his_own_manager() {
        assert_eq!(scope_arguments(false)[0], "--user");
        assert_eq!(scope_arguments(true)[0], "--system");
        assert!(scope_arguments(false).contains(&"--property=Delegate=yes"));
    }
}
