//! The start of one container: what every way of starting one has in common.

use std::{io, os::unix::net::UnixStream};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::slot::Slot;
use crate::{
    container::{barrier::Failed, namespace, rootfs, scratch::ScratchSpace},
    pending_output::Area,
    protocol::{frame::Kind, sender::Sender},
};

/// How a launcher starts the containers of its slot.
pub(crate) trait ContainerLauncher {
    /// Starts one whose agent speaks over `stream`.
    ///
    /// # Errors
    /// Those of what it takes besides the container's own barriers.
    ///
    /// # Safety
    /// The caller is its process's only thread, and nothing else in the process uses a descriptor.
    #[expect(unsafe_code, reason = "its implementations fork")]
    unsafe fn start(
        &mut self,
        slot: &Slot,
        scratch: &ScratchSpace,
        stream: UnixStream,
    ) -> io::Result<Launched>;
}

/// What [`ContainerLauncher::start`] returns, and in which process.
pub(crate) enum Launched {
    /// In the launcher: a container was started.
    Container(Pid),
    /// In the launcher: none was started.
    Failed(Failed),
    /// In the container's program, with its limits set.
    Program(Box<Program>),
}

/// A program, in its own process.
pub(crate) struct Program {
    pub(crate) start: Start,
    /// Where it keeps what it has printed and not written.
    pub(crate) pending_output: Area,
}

/// What a program is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// Makes a container of this process, the first in new namespaces: everything it has of its own.
pub(crate) fn build(slot: &Slot, scratch: &ScratchSpace) -> Result<(), Failed> {
    namespace::leave_session()?;
    rootfs::enter_container(scratch, !slot.is_root)?;
    namespace::setup_uts_and_loopback()?;
    slot.sysctls.apply()?;
    namespace::drop_privileges(&slot.user_namespace, slot.is_root, &slot.filter)
}

/// Reports over the agent's stream which barrier can't be installed.
pub(crate) fn report_failed_barrier(stream: &UnixStream, failed: &Failed) -> io::Result<()> {
    Sender::new(stream).send(Kind::Barrier, &serde_json::to_vec(failed)?)
}

/// Puts /dev/null at descriptors 0 to 2: standard input is the slot's socket to the worker, which no
/// process of a container may hold.
pub(crate) fn null_standard_streams() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
