//! Signals by name. Their numbers are the same on every architecture that sandfleet runs on.

/// What the kernel sends a program that used more CPU time than it may.
pub(super) const XCPU: i32 = 24;

/// Names of signals 1 to 31.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name of signal `number`.
pub(super) fn name(number: i32) -> String {
    usize::try_from(number - 1)
        .ok()
        .and_then(|index| SIGNALS.get(index))
        .map_or_else(|| format!("signal {number}"), |name| (*name).to_owned())
}

/// The number of the signal called `name`.
pub fn number(name: &str) -> Option<i32> {
    SIGNALS.iter().position(|known| *known == name).map(|index| index as i32 + 1)
}
