//! Settings of the kernel (sysctl) that are a container's or a launcher's own.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::write,
};

use crate::container::barrier::{Barrier, Failed};

const DIRECTORY: &str = "/proc/sys";

/// Quotas of a launcher that isn't root: the host counts these per user, and one job must not use up
/// what other jobs and the user's own services need.
const QUOTAS: [(&str, &str); 2] =
    [("max_inotify_instances", "16"), ("max_inotify_watches", "8192")];

/// Settings to write in the network namespace of each container. Paths and values are built before
/// there is a container: a container's process may work in its launcher's memory, where whatever it
/// allocates is never freed.
#[derive(Debug)]
pub(crate) struct Sysctls {
    /// The host's directory of settings; the container's own /proc has none. The kernel shows in it the
    /// settings of the namespaces that the reading process is in.
    directory: OwnedFd,
    values: Vec<(CString, String)>,
}

impl Sysctls {
    /// For names as sysctl(8) has them, with dots.
    pub(crate) fn new(values: &[(String, String)]) -> Result<Self, Failed> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, DIRECTORY, flags, Mode::empty())
            .map_err(|error| Barrier::Network.failed(format!("{DIRECTORY}: {error}")))?;
        let path = |(name, value): &(String, String)| {
            Ok((CString::new(name.replace('.', "/"))?, value.clone()))
        };
        let values = values.iter().map(path).collect::<io::Result<_>>();
        let values = values.map_err(|error| Barrier::Network.failed(error.to_string()))?;
        Ok(Self { directory, values })
    }

    /// Writes them for the network namespace that this process is in.
    pub(crate) fn apply(&self) -> Result<(), Failed> {
        for (path, value) in &self.values {
            openat(&self.directory, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .and_then(|file| write(file.as_fd(), value.as_bytes()))
                .map_err(|error| {
                    let path = path.to_string_lossy();
                    Barrier::Network.failed(format!("{DIRECTORY}/{path}: {error}"))
                })?;
        }
        Ok(())
    }
}

/// Sets the quotas of the user namespace that this process is in.
pub(crate) fn set_user_quotas() -> Result<(), Failed> {
    for (name, value) in QUOTAS {
        let path = Path::new(DIRECTORY).join("user").join(name);
        fs::write(&path, value).map_err(|error| {
            Barrier::UserNamespace.failed(format!("{}: {error}", path.display()))
        })?;
    }
    Ok(())
}
