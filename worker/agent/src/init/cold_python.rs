//! A Python that is started by an exec, with an area for its pending output.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::io::fcntl_dupfd_cloexec;

use crate::pending_output::{self, DESCRIPTOR, MODULE_DIRECTORY, MODULE_FILE, PATH_VARIABLE};

/// Without a value Python ignores it.
const UNBUFFERED: &str = "PYTHONUNBUFFERED";

/// Has the interpreter import the module that uses an area, and returns the area. Where there is no such module it
/// writes all that is printed at once instead; and so it does if the job asks for that.
pub(super) fn prepare(environment: &mut Vec<(String, String)>) -> io::Result<Option<OwnedFd>> {
    if environment.iter().any(|(name, value)| name == UNBUFFERED && !value.is_empty()) {
        return Ok(None);
    }
    if !Path::new(MODULE_DIRECTORY).join(MODULE_FILE).exists() {
        environment.retain(|(name, _)| name != UNBUFFERED);
        environment.push((UNBUFFERED.into(), "1".into()));
        return Ok(None);
    }
    let theirs = environment.iter().position(|(name, _)| name == PATH_VARIABLE);
    let path = match theirs.map(|index| environment.remove(index).1) {
        Some(theirs) => format!("{MODULE_DIRECTORY}:{theirs}"),
        None => MODULE_DIRECTORY.into(),
    };
    // Last, so that the module can take it away.
    environment.push((PATH_VARIABLE.into(), path));
    // Not where the program will have it, or the kernel would not open it there anew.
    Ok(Some(fcntl_dupfd_cloexec(pending_output::file()?, DESCRIPTOR + 1)?))
}
