//! A zygote: an interpreter that has loaded what programs ask for before there is any program.
//!
//! It starts as the agent, builds a root tree in namespaces of its own and becomes the interpreter
//! (`interpreter.rs`), which loads a module that contains this code again and calls [`serve`]. For every slot
//! it forks a copy of itself, a [launcher], whose containers' programs are copies in turn (`container.rs`). So
//! no byte of a job is ever read in a process that other jobs are copied from, and the zygote itself runs
//! only code that is installed on the host.

use std::{
    env,
    ffi::OsString,
    fs, io, mem,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::process::{WaitOptions, waitpid};

use super::{
    container::WarmContainers,
    forking::Forking,
    interpreter::{AGENT, CHANNEL},
    kept_files::kept_files,
};
use crate::{
    container::barrier::short,
    launcher::{
        self, Channel,
        container::{Program, Start},
    },
    pending_output::Area,
    protocol::zygote::{Command, Report},
    sys::{self, SignalEffects},
};

/// How a program's start differs from its zygote's.
#[derive(Debug)]
pub struct Changes {
    /// The program's command, if it differs.
    pub command: Option<Vec<String>>,
    /// Its whole environment, if that differs.
    pub environment: Option<Vec<(String, String)>>,
    /// Where it keeps what it has printed and not written.
    pub pending_output: Area,
}

/// What this process was started with, its environment as it is now.
fn own_start() -> io::Result<Start> {
    let line = fs::read_to_string("/proc/self/cmdline")?;
    let text = |text: OsString| text.to_string_lossy().into_owned();
    Ok(Start {
        command: line.split_terminator('\0').map(str::to_owned).collect(),
        environment: env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
    })
}

fn changes(from: &Start, to: Program) -> Changes {
    let Program { start: to, pending_output } = to;
    Changes {
        command: Some(to.command).filter(|command| *command != from.command),
        environment: Some(to.environment).filter(|all| *all != from.environment),
        pending_output,
    }
}

/// Forks launchers, in the interpreter, until the worker closes its end; returns in each program.
///
/// # Errors
/// What keeps the interpreter from being copied; it was reported to the worker.
///
/// # Safety
/// Called once, in a process that [`become_interpreter`](super::become_interpreter) has made an interpreter of, at a
/// point where the interpreter may fork: `forking` is what it needs done around that.
#[expect(unsafe_code, reason = "forks")]
pub unsafe fn serve(forking: Forking) -> io::Result<Changes> {
    // SAFETY: opened for this function alone.
    let mut worker = Channel::new(unsafe { sys::inherited(CHANNEL) }?);
    let refuse = |worker: &Channel, error: io::Error| {
        worker.report(&Report::Failed { reason: short(&error.to_string()) })?;
        Err(error)
    };
    let mut copies = match prepare(forking) {
        Ok(copies) => copies,
        Err(error) => return refuse(&worker, error),
    };
    worker.report(&Report::Ready)?;
    while let Some((command, descriptors)) = worker.receive::<Command>()? {
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
        let (Command::Copy { vfork }, Some(socket)) = (command, descriptors.into_iter().next())
        else {
            let error = "a zygote takes only Copy, with a socket";
            return refuse(&worker, io::Error::other(error));
        };
        // SAFETY: `prepare` has found no second thread, and nothing here starts one.
        let forked = unsafe { forking.around(|| sys::fork(), |forked| matches!(forked, Ok(None))) };
        match forked {
            Ok(Some(process)) => {
                let process = process.as_raw_nonzero().get().unsigned_abs();
                worker.report(&Report::Copied { process })?;
            }
            Ok(None) => {
                let start = serve_slot(socket, &mut copies, vfork)?;
                let changes = changes(&copies.start, start);
                // Together with everything else that owns a descriptor, before new ones are opened.
                let kept = mem::take(&mut copies.kept);
                drop((worker, copies));
                for file in kept {
                    // SAFETY: all but the standard streams are closed, and nothing here has another open.
                    unsafe { file.open() }?;
                }
                return Ok(changes);
            }
            Err(error) => return refuse(&worker, error),
        }
    }
    sys::exit(0)
}

/// Does once what each copy would have to do otherwise.
#[expect(unsafe_code, reason = "takes over what it was started with")]
fn prepare(forking: Forking) -> io::Result<WarmContainers> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        // A copy has one thread: locks that the others held would stay locked in it.
        return Err(io::Error::other(format!("{threads} threads run after the start, not one")));
    }
    try_a_copy(forking)?;
    // SAFETY: opened for this function alone, which is called once.
    let agent = unsafe { sys::inherited(AGENT) }?;
    let start = own_start()?;
    // The start that most programs have: those then need no change.
    sys::set_cmdline(&start.command, &start.environment)?;
    let copies = WarmContainers::new(forking, start, SignalEffects::take(), agent);
    sys::collapse_memory()?;
    sys::block_stop_signals()?;
    Ok(copies)
}

/// Forks once to see whether a copy keeps files open that programs can't have, and discards that copy.
/// (matplotlib, for example, closes its fonts after a fork.)
#[expect(unsafe_code, reason = "forks")]
fn try_a_copy(forking: Forking) -> io::Result<()> {
    // SAFETY: `prepare` has found no second thread.
    let copy = unsafe { forking.around(|| sys::fork(), |forked| matches!(forked, Ok(None))) }?;
    let Some(copy) = copy else {
        let kept = kept_files(&[CHANNEL, AGENT]);
        if let Err(error) = &kept {
            eprintln!("sandfleet-agent: {error}");
        }
        sys::exit(kept.is_err().into())
    };
    match waitpid(Some(copy), WaitOptions::empty())? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(io::Error::other("after a fork files stay open that programs can't have")),
    }
}

/// The copy: serves its slot as a launcher; returns in each program.
#[expect(unsafe_code, reason = "closes what the zygote has")]
fn serve_slot(socket: OwnedFd, copies: &mut WarmContainers, vfork: bool) -> io::Result<Program> {
    rustix::process::setsid()?;
    copies.kept = kept_files(&[CHANNEL, socket.as_raw_fd(), copies.agent.as_raw_fd()])?;
    // SAFETY: the interpreter's own are used in programs only, which open them anew. The zygote's socket is used no
    // more, and what owns it is dropped in programs only, before these open anything.
    unsafe { sys::close_others(&mut [socket.as_raw_fd(), copies.agent.as_raw_fd()]) }?;
    if vfork {
        copies.share_memory()?;
    }
    // SAFETY: a copy of the interpreter's only thread.
    match unsafe { launcher::serve_slot(Channel::new(socket), copies) } {
        Ok(Some(program)) => Ok(*program),
        Ok(None) => sys::exit(0),
        Err(error) => {
            eprintln!("sandfleet-agent: {error}");
            sys::exit(1)
        }
    }
}
