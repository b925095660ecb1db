//! The external commands that images are made with: each is named with its fix where it is missing.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

use super::error::ImageError;

/// How much of what a command says is shown when it fails: its last lines, and of each the beginning.
const SHOWN_LINES: usize = 40;
const SHOWN_LETTERS: usize = 300;

/// What is installed to have each command.
const PACKAGES: [(&str, &str); 9] = [
    ("apt-get", "run this on Debian or a derivative"),
    ("/usr/lib/apt/apt-helper", "run this on Debian or a derivative"),
    ("dpkg-deb", "run this on Debian or a derivative"),
    ("mmdebstrap", "apt-get install mmdebstrap"),
    ("npm", "apt-get install npm"),
    ("python3", "apt-get install python3-pip"),
    ("sh", "apt-get install dash"),
    ("tar", "apt-get install tar"),
    ("unshare", "apt-get install util-linux"),
];

/// `program`, with this process's environment: registries may be behind proxies and mirrors.
pub(super) fn online(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// `program`, with nothing of this process that could end up in what it makes: neither environment nor umask nor the
/// host's name.
pub(super) fn reproducible(program: &str, epoch: u64) -> Command {
    let script = "umask 022 && hostname image 2>/dev/null; exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--uts", "sh", "-c", script, "sh", program])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .stdin(Stdio::null());
    command
}

/// Runs `command` to its end and returns what it printed to stdout.
///
/// # Errors
/// If it is missing or fails, with the end of what it said.
pub(super) fn output(what: &str, command: &mut Command) -> Result<String, ImageError> {
    let program = program(command);
    let done = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(&program),
        _ => ImageError::new(format!("{what}: {program}: {error}")),
    })?;
    // The outer commands say so with a code of their own.
    if !done.status.success() {
        let said = [&done.stdout[..], &done.stderr[..]].concat();
        let said = last_lines(&String::from_utf8_lossy(&said));
        if done.status.code() == Some(127) && said.contains("not found") {
            return Err(missing(&program));
        }
        let why = format!("{what}: {program} failed ({})", done.status);
        return Err(ImageError::new(why).saying(said));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn last_lines(said: &str) -> String {
    let lines: Vec<String> =
        said.trim_end().lines().map(|line| line.chars().take(SHOWN_LETTERS).collect()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Whether `command` can be run at all.
///
/// # Errors
/// If it is missing, with its fix.
pub(super) fn require(program: &str) -> Result<(), ImageError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = match program.contains('/') {
        true => Path::new(program).is_file(),
        false => std::env::split_paths(&path).any(|place| place.join(program).is_file()),
    };
    if found { Ok(()) } else { Err(missing(program)) }
}

/// The program that is meant: the one inside of [`reproducible`]'s.
fn program(command: &Command) -> String {
    let outer = command.get_program().to_string_lossy().into_owned();
    match outer.as_str() {
        "unshare" => {
            command.get_args().nth(5).map_or(outer, |it| it.to_string_lossy().into_owned())
        }
        _ => outer,
    }
}

fn missing(program: &str) -> ImageError {
    let fix = PACKAGES.iter().find(|(known, _)| *known == program).map(|(_, fix)| *fix);
    ImageError::with_fix(format!("{program} is missing"), fix.unwrap_or("install it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_missing_is_named_with_its_fix() {
        let why = require("mmdebstrap-that-is-not-there").expect_err("missing").to_string();
        assert_eq!(why, "mmdebstrap-that-is-not-there is missing; to fix: install it");
        assert_eq!(
            missing("mmdebstrap").to_string(),
            "mmdebstrap is missing; to fix: apt-get install mmdebstrap"
        );
    }

    #[test]
    fn a_command_that_fails_is_shown_with_what_it_said() {
        let mut command = online("sh");
        command.args(["-c", "echo spoken; exit 3"]);
        let why = output("trying", &mut command).expect_err("fails");
        assert!(why.to_string().starts_with("trying: sh failed (exit status: 3)"), "{why}");
        assert_eq!(why.said, "spoken");
    }

    #[test]
    fn what_is_reproducible_sees_neither_the_environment_nor_the_umask() {
        let mut command = reproducible("sh", 7);
        command.args(["-c", "umask; env | grep -c CARGO; echo $SOURCE_DATE_EPOCH; date +%Z"]);
        // `grep -c` prints the 0 and fails, which the following hides.
        let said = output("trying", &mut command);
        // Where there is no privilege there are no images either.
        if rustix::process::geteuid().is_root() {
            assert_eq!(said.expect("runs"), "0022\n0\n7\nUTC\n");
        }
    }
}
