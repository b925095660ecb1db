//! From the agent's binary to an interpreter that will be a zygote: namespaces and a root tree of its own,
//! then an exec.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process,
};

use rustix::{io::fcntl_dupfd_cloexec, process::chdir, stdio::dup2_stdin};

use crate::{
    container::{
        barrier::{Failed, short},
        machine::Processors,
        namespace, rootfs,
        scratch::WORKING_DIRECTORY,
    },
    launcher::{self, Channel},
    protocol::zygote::{Command, Report},
    sys,
};

/// Where the interpreter has its socket to the worker. Standard input is what programs will have.
pub(super) const CHANNEL: RawFd = 3;
/// Where it has the file that this process ran from before it was the interpreter: the agent.
pub(super) const AGENT: RawFd = 4;

/// Serves the worker on standard input: takes its first command and becomes the interpreter.
///
/// # Errors
/// What kept it from that; it was reported to the worker.
///
/// # Safety
/// Nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
pub unsafe fn become_interpreter() -> io::Result<()> {
    launcher::leave_worker()?;
    let mut worker = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((command, descriptors)) = worker.receive()? else { return Ok(()) };
    let error = match command {
        Command::Become { root, command, environment, program, files } => {
            let contents = files.iter().map(String::as_str).zip(descriptors);
            // SAFETY: as the caller promises.
            unsafe { replace(&worker, &root, &command, &environment, &program, contents) }
        }
        Command::Copy { .. } => io::Error::other("not an interpreter yet"),
    };
    worker.report(&Report::Failed { reason: short(&error.to_string()) })?;
    Err(error)
}

/// Returns only if it fails.
///
/// # Safety
/// Nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
unsafe fn replace<'a>(
    worker: &Channel,
    root: &str,
    command: &[String],
    environment: &[(String, String)],
    program: &str,
    files: impl Iterator<Item = (&'a str, OwnedFd)>,
) -> io::Error {
    let prepare = || -> io::Result<process::Command> {
        let [name, arguments @ ..] = command else {
            return Err(io::Error::other("no command to become"));
        };
        let mut contents = Vec::new();
        for (name, descriptor) in files {
            let mut bytes = Vec::new();
            File::from(descriptor).read_to_end(&mut bytes)?;
            contents.push((name, bytes));
        }
        let contents: Vec<_> = contents.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
        // Above both target numbers, so that moving one can't close the other.
        let agent = fcntl_dupfd_cloexec(File::open("/proc/self/exe")?, AGENT + 1)?;
        let channel = fcntl_dupfd_cloexec(worker, AGENT + 1)?;
        // The interpreter needs no network and no IPC either.
        sys::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)?;
        // Its containers have trees of their own, with what they see of processors.
        let processors = Processors { count: 1, quota_us: 100_000 };
        let failed = |failed: Failed| io::Error::other(failed.to_string());
        namespace::leave_host_mounts()
            .and_then(|()| rootfs::enter_image(root))
            .and_then(|()| rootfs::build(true, rootfs::expose, Some("/proc"), processors, None))
            .and_then(|_| rootfs::setup_zygote(program, &contents))
            .map_err(failed)?;
        // Where programs start too: interpreters look for the program's file here.
        chdir(WORKING_DIRECTORY)?;
        dup2_stdin(File::open("/dev/null")?)?;
        // SAFETY: nothing else uses a descriptor, and what has these numbers here, or owns others, is not used
        // before the exec.
        unsafe {
            sys::move_descriptor(channel.as_fd(), CHANNEL)?;
            sys::move_descriptor(agent.as_fd(), AGENT)?;
            sys::close_others(&mut [CHANNEL, AGENT])?;
        }
        let mut interpreter = process::Command::new(name);
        interpreter
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)));
        Ok(interpreter)
    };
    match prepare() {
        Ok(mut interpreter) => interpreter.exec(),
        Err(error) => error,
    }
}
