//! A program that is a copy of an interpreter: it waits for its command and then takes over as what the
//! command asks for.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use rustix::{
    process::{DumpableBehavior, chdir, set_dumpable_behavior},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};
use serde::{Deserialize, Serialize};

use crate::{
    container::scratch::WORKING_DIRECTORY,
    init::rlimits,
    launcher::container::{Program, Start},
    pending_output::Area,
    protocol::{
        frame::{self, Kind},
        message::ProcessLimits,
    },
    sys::{self, Affinity, SignalEffects},
};

/// The program's ends of its streams. They are made before the program: a descriptor that is sent over a
/// socket later could be refused, because descriptors in flight are counted per user.
pub(super) struct Streams {
    pub(super) stdin: File,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) pending_output: OwnedFd,
}

/// What the agent sends to the waiting program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartCommand {
    pub(super) has_stdin: bool,
    pub(super) start: Start,
    pub(super) bounds: ProcessLimits,
    pub(super) processors: Vec<u32>,
}

/// Waits for the command and becomes the program that it asks for, except for what the interpreter itself
/// has to change. `zygote` is what the interpreter was started with, `effects` what signals do in it.
pub(super) fn become_program(
    link: &UnixStream,
    streams: Streams,
    zygote: &Start,
    effects: &SignalEffects,
) -> Program {
    match take_command(link, streams, zygote, effects) {
        Ok(Some(program)) => program,
        // The container was ended before it had a job.
        Ok(None) => sys::exit(0),
        Err(error) => {
            eprintln!("the program can't be started: {error}");
            sys::exit(126)
        }
    }
}

#[expect(unsafe_code, reason = "closes what the launcher has")]
fn take_command(
    mut link: &UnixStream,
    streams: Streams,
    zygote: &Start,
    effects: &SignalEffects,
) -> io::Result<Option<Program>> {
    let payload = match frame::read(&mut link)? {
        Some((Kind::RunRequest, payload)) => payload,
        Some((kind, _)) => return Err(io::Error::other(format!("{kind:?} instead of a command"))),
        None => return Ok(None),
    };
    let StartCommand { has_stdin, start, bounds, processors } = serde_json::from_slice(&payload)?;
    let pending_output = Area::whole(&streams.pending_output)?;
    // As after an exec: three descriptors, no blocked signal, a process that its own user may read.
    dup2_stdin(if has_stdin { streams.stdin } else { File::open("/dev/null")? })?;
    dup2_stdout(streams.stdout)?;
    dup2_stderr(streams.stderr)?;
    // SAFETY: the interpreter's descriptors are opened anew before it goes on, and the launcher's are not
    // used any more: what owns them is dropped before that (`zygote::serve`).
    unsafe { sys::close_others(&mut []) }?;
    // The directory that it was in so far is covered by the container's own.
    chdir(WORKING_DIRECTORY)?;
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    if start != *zygote {
        sys::set_cmdline(&start.command, &start.environment)?;
    }
    // SAFETY: this is a copy of the interpreter that they were taken from, which has unloaded nothing.
    unsafe { effects.restore() }?;
    rlimits::set(&bounds)?;
    Affinity::choose(&processors).apply()?;
    Ok(Some(Program { start, pending_output }))
}
