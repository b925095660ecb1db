//! A zygote: an interpreter that has loaded what programs ask for before there is any program.
//!
//! It starts as the agent, builds a root tree in namespaces of its own and becomes the interpreter,
//! which loads a module that is this code again and calls [`serve`]. For every slot it makes a copy of
//! itself, a [launcher](crate::launch). The launcher's copies become the agents of containers, with every barrier of a cold start, and only then such an agent takes its order and
//! makes the last copy, the program. So no byte of a job is ever read where another job could see it,
//! and the zygote itself runs nothing but what is installed on the host.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process,
};

use rustix::{
    process::{DumpableBehavior, Pid, WaitOptions, chdir, set_dumpable_behavior, waitpid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};
use serde::{Deserialize, Serialize};

use crate::{
    channel::{receive, report},
    launch::{self, Failed},
    message::Order,
    namespace,
    program::{Birth, Streams},
    root,
    session::{Role, WORKING_DIRECTORY},
    system::{self, SignalEffects},
};

/// Where the interpreter has its socket to the worker. Standard input is what programs will have.
const CHANNEL: RawFd = 3;

/// Where the interpreter finds the files that it was given.
pub const DIRECTORY: &str = "/tmp";

/// What the worker says to a zygote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// First of all: become the interpreter. Comes with a descriptor for each of `files`.
    Become {
        /// The command; the first element is an absolute path.
        command: Vec<String>,
        /// The whole environment.
        environment: Vec<(String, String)>,
        /// Names of files to have in [`DIRECTORY`].
        files: Vec<String>,
    },
    /// Make a copy that is a launcher. Comes with its socket.
    Copy,
}

/// What a zygote says to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Everything is loaded; copies can be made.
    Ready,
    /// There is a copy.
    Copied {
        /// Its number.
        process: u32,
    },
    /// It can't be a zygote.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Serves the worker on standard input: takes its first command and becomes the interpreter.
///
/// # Errors
/// What kept it from that; the worker was told, if it could be.
pub fn become_interpreter() -> io::Result<()> {
    launch::leave_worker()?;
    let worker = io::stdin().as_fd().try_clone_to_owned()?;
    let Some((command, descriptors)) = receive(worker.as_fd())? else { return Ok(()) };
    let error = match command {
        Command::Become { command, environment, files } => {
            let contents = files.iter().map(String::as_str).zip(descriptors);
            replace(&worker, &command, &environment, contents)
        }
        Command::Copy => io::Error::other("not an interpreter yet"),
    };
    report(worker.as_fd(), &Report::Failed { reason: error.to_string() })?;
    Err(error)
}

/// Comes back only if it fails.
fn replace<'a>(
    worker: &OwnedFd,
    command: &[String],
    environment: &[(String, String)],
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
        // What it loads has no business outside either.
        system::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)?;
        let broken = |failed: Failed| io::Error::other(failed.to_string());
        namespace::leave_host_mounts()
            .and_then(|()| root::build(true, root::expose, Some("/proc")))
            .and_then(|()| root::furnish_zygote(&contents))
            .map_err(broken)?;
        // As for programs: it tells interpreters where the program's file is.
        chdir(WORKING_DIRECTORY)?;
        dup2_stdin(File::open("/dev/null")?)?;
        system::move_descriptor(worker.as_fd(), CHANNEL)?;
        system::close_others(&mut [CHANNEL])?;
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

/// What a program has that is different from what its zygote was started with.
#[derive(Debug)]
pub struct Changes {
    /// Its command, if that is another.
    pub command: Option<Vec<String>>,
    /// Its whole environment, if that is another.
    pub environment: Option<Vec<(String, String)>>,
}

/// What a process was started with.
struct Start {
    command: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Start {
    /// This process's own, as its environment is now.
    fn own() -> io::Result<Self> {
        let line = fs::read_to_string("/proc/self/cmdline")?;
        let text = |text: OsString| text.to_string_lossy().into_owned();
        Ok(Self {
            command: line.split_terminator('\0').map(str::to_owned).collect(),
            environment: env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
        })
    }

    fn changes(&self, order: Order) -> Changes {
        Changes {
            command: Some(order.command).filter(|command| *command != self.command),
            environment: Some(order.environment).filter(|all| *all != self.environment),
        }
    }
}

/// Makes copies, in the interpreter, for as long as there is a worker; comes back in each program.
///
/// `fork` has to do what the interpreter does about forks of its own; it gives `None` in the child.
///
/// # Errors
/// What keeps the interpreter from being copied; the worker was told.
pub fn serve(fork: fn() -> io::Result<Option<Pid>>) -> io::Result<Changes> {
    let worker = system::inherited(CHANNEL)?;
    let refuse = |error: io::Error| {
        report(worker.as_fd(), &Report::Failed { reason: error.to_string() })?;
        Err(error)
    };
    let mut copies = match prepare(fork) {
        Ok(copies) => copies,
        Err(error) => return refuse(error),
    };
    report(worker.as_fd(), &Report::Ready)?;
    while let Some((command, descriptors)) = receive::<Command>(worker.as_fd())? {
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
        let (Command::Copy, Some(socket)) = (command, descriptors.into_iter().next()) else {
            return refuse(io::Error::other(
                "an interpreter only makes copies, with a socket each",
            ));
        };
        match fork() {
            Ok(Some(process)) => {
                let process = process.as_raw_nonzero().get().unsigned_abs();
                report(worker.as_fd(), &Report::Copied { process })?;
            }
            Ok(None) => {
                let order = launch(socket, &mut copies)?;
                return Ok(copies.start.changes(order));
            }
            Err(error) => return refuse(error),
        }
    }
    system::exit(0)
}

/// Does what copies would have to do otherwise, each of them.
fn prepare(fork: fn() -> io::Result<Option<Pid>>) -> io::Result<Copies> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        // A copy has one thread, and finds locked for ever what the others held.
        return Err(io::Error::other(format!("{threads} threads run after the start, not one")));
    }
    let start = Start::own()?;
    // What most programs are started with, so that they needn't see to it.
    system::show_start(&start.command, &start.environment)?;
    let copies = Copies { fork, start, effects: SignalEffects::read() };
    system::forget_signal_effects();
    system::collapse_memory()?;
    system::block_stop_signals()?;
    Ok(copies)
}

/// The copy's part, until its slot isn't needed any more.
fn launch(socket: OwnedFd, copies: &mut Copies) -> io::Result<Order> {
    rustix::process::setsid()?;
    system::close_others(&mut [socket.as_raw_fd()])?;
    match launch::serve_slot(socket.as_fd(), copies) {
        Ok(Role::Program(order)) => Ok(*order),
        Ok(Role::Agent) => system::exit(0),
        Err(error) => {
            eprintln!("sandfleet-agent: {error}");
            system::exit(1)
        }
    }
}

/// Programs that are copies of their agent.
struct Copies {
    fork: fn() -> io::Result<Option<Pid>>,
    start: Start,
    effects: SignalEffects,
}

impl Birth for Copies {
    fn start(&mut self, order: &Order, streams: Streams) -> io::Result<Option<Pid>> {
        let child = (self.fork)()?;
        if child.is_none()
            && let Err(error) = self.become_program(order, streams)
        {
            // The agent's stream may still be open here, and is not the program's to speak on.
            eprintln!("the program can't be started: {error}");
            system::exit(126);
        }
        Ok(child)
    }
}

impl Copies {
    /// As after an exec: three descriptors, no signal blocked, and nobody hidden from himself.
    fn become_program(&self, order: &Order, streams: Streams) -> io::Result<()> {
        match streams.stdin {
            Some(file) => dup2_stdin(file)?,
            None => dup2_stdin(File::open("/dev/null")?)?,
        }
        dup2_stdout(streams.stdout)?;
        dup2_stderr(streams.stderr)?;
        system::close_others(&mut [])?;
        // What it was in so far is hidden by the container's own.
        chdir(WORKING_DIRECTORY)?;
        set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        if (&order.command, &order.environment) != (&self.start.command, &self.start.environment) {
            system::show_start(&order.command, &order.environment)?;
        }
        self.effects.restore()
    }
}
