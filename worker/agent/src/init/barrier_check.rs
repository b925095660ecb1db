//! The agent checks its barriers before it takes a job.

use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitySet, SecureComputingMode, capabilities, no_new_privs, secure_computing_mode,
    },
};

/// Makes this process unreadable for the program, which runs as the same user, and checks that
/// the barriers that can be seen from inside are installed.
///
/// # Errors
/// Names the barrier that is missing.
pub(crate) fn check() -> Result<(), String> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the agent can't be hidden from the program: {error}"))?;
    if !no_new_privs().map_err(|error| format!("no_new_privs can't be read: {error}"))? {
        return Err("no_new_privs is not set: programs could gain privileges".into());
    }
    match secure_computing_mode() {
        Ok(SecureComputingMode::Filter) => {}
        other => return Err(format!("no system call filter is installed: {other:?}")),
    }
    let held =
        capabilities(None).map_err(|error| format!("capabilities can't be read: {error}"))?;
    let any = held.effective | held.permitted | held.inheritable;
    if any != CapabilitySet::empty() {
        return Err(format!("capabilities are left: {any:?}"));
    }
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        return Err("not PID 1: the container has no PID namespace of its own".into());
    }
    let session = rustix::process::getsid(None).map(|session| session.as_raw_nonzero().get());
    if session != Ok(1) || rustix::process::getpgrp().as_raw_nonzero().get() != 1 {
        return Err("not in a session of its own: signals to its group would leave it".into());
    }
    if rustix::process::geteuid().is_root() {
        return Err("running as root: the container has to have a user of its own".into());
    }
    Ok(())
}
