//! A zygote: an interpreter that has loaded what programs ask for before there is any program.
//!
//! It starts as the agent, builds a root tree in namespaces of its own and becomes the interpreter,
//! which loads a module that is this code again and calls [`serve`]. For every slot it makes a copy of
//! itself, a [launcher](crate::launch), whose containers' programs are copies in turn (`warm_container.rs`). So
//! no byte of a job is ever read where another job could see it, and the zygote itself runs nothing but
//! what is installed on the host.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, seek, stat, tell},
    io::fcntl_dupfd_cloexec,
    process::{WaitOptions, chdir, waitpid},
    stdio::dup2_stdin,
};
use serde::{Deserialize, Serialize};

pub use crate::warm_container::attend;
use crate::{
    channel::Channel,
    launch::{self, Failed, Start},
    namespace, rootfs,
    session::WORKING_DIRECTORY,
    system::{self, SignalEffects},
    warm_container::WarmContainers,
};

/// Where the interpreter has its socket to the worker. Standard input is what programs will have.
const CHANNEL: RawFd = 3;
/// Where it has the file that this process ran from before it was the interpreter: the agent.
const AGENT: RawFd = 4;

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
        /// The name of the file that programs are in, which the interpreter looks for.
        program: String,
        /// Names of files to have in [`DIRECTORY`].
        files: Vec<String>,
    },
    /// Make a copy that is a launcher. Comes with its socket.
    Copy {
        /// Whether its containers begin in its own memory, as after vfork(2), and not in a copy of that.
        vfork: bool,
    },
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
    /// It can't be a zygote this time.
    Failed {
        /// Why.
        reason: String,
    },
    /// The interpreter is one that this code must not touch, now and whenever it is started again. Said by
    /// `sitecustomize.py`, before it loads any of this.
    Unfit {
        /// Why.
        reason: String,
    },
}

/// Serves the worker on standard input: takes its first command and becomes the interpreter.
///
/// # Errors
/// What kept it from that; the worker was told, if it could be.
///
/// # Safety
/// Nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
pub unsafe fn become_interpreter() -> io::Result<()> {
    launch::leave_worker()?;
    let mut worker = Channel::new(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((command, descriptors)) = worker.receive()? else { return Ok(()) };
    let error = match command {
        Command::Become { command, environment, program, files } => {
            let contents = files.iter().map(String::as_str).zip(descriptors);
            // SAFETY: as the caller promises.
            unsafe { replace(&worker, &command, &environment, &program, contents) }
        }
        Command::Copy { .. } => io::Error::other("not an interpreter yet"),
    };
    worker.report(&Report::Failed { reason: launch::short(&error.to_string()) })?;
    Err(error)
}

/// Comes back only if it fails.
///
/// # Safety
/// Nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
unsafe fn replace<'a>(
    worker: &Channel,
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
        // Both to where neither is going, so that no move closes what is still to be moved.
        let agent = fcntl_dupfd_cloexec(File::open("/proc/self/exe")?, AGENT + 1)?;
        let channel = fcntl_dupfd_cloexec(worker, AGENT + 1)?;
        // What it loads has no business outside either.
        system::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)?;
        let broken = |failed: Failed| io::Error::other(failed.to_string());
        namespace::leave_host_mounts()
            .and_then(|()| rootfs::build(true, rootfs::expose, Some("/proc")))
            .and_then(|()| rootfs::setup_zygote(program, &contents))
            .map_err(broken)?;
        // As for programs: it tells interpreters where the program's file is.
        chdir(WORKING_DIRECTORY)?;
        dup2_stdin(File::open("/dev/null")?)?;
        // SAFETY: nothing else uses a descriptor, and what has these numbers here, or owns others, is not used
        // before the exec.
        unsafe {
            system::move_descriptor(channel.as_fd(), CHANNEL)?;
            system::move_descriptor(agent.as_fd(), AGENT)?;
            system::close_others(&mut [CHANNEL, AGENT])?;
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

/// What a program has that is different from what its zygote was started with.
#[derive(Debug)]
pub struct Changes {
    /// Its command, if that is another.
    pub command: Option<Vec<String>>,
    /// Its whole environment, if that is another.
    pub environment: Option<Vec<(String, String)>>,
}

/// What an interpreter has to do about a fork of its process, apart from the fork. They are called in its
/// only thread, in this order, and never but around a fork.
#[derive(Debug, Clone, Copy)]
pub struct Forking {
    /// Before it.
    pub before: unsafe fn(),
    /// After it, in the parent.
    pub in_parent: unsafe fn(),
    /// After it, in the child.
    pub in_child: unsafe fn(),
}

impl Forking {
    /// Whatever forks, with what has to be done about it; `is_child` tells as whom it has come back.
    ///
    /// # Safety
    /// The caller is the interpreter's only thread, in which these may be called.
    #[expect(unsafe_code, reason = "hands the contract on")]
    pub(crate) unsafe fn around<T>(
        self,
        fork: impl FnOnce() -> T,
        is_child: impl FnOnce(&T) -> bool,
    ) -> T {
        // SAFETY: as the caller promises.
        unsafe {
            (self.before)();
            let forked = fork();
            if is_child(&forked) {
                (self.in_child)()
            } else {
                (self.in_parent)()
            }
            forked
        }
    }
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

fn changes(from: &Start, to: Start) -> Changes {
    Changes {
        command: Some(to.command).filter(|command| *command != from.command),
        environment: Some(to.environment).filter(|all| *all != from.environment),
    }
}

/// Makes copies, in the interpreter, for as long as there is a worker; comes back in each program.
///
/// # Errors
/// What keeps the interpreter from being copied; the worker was told.
///
/// # Safety
/// Called once, in a process that [`become_interpreter`] has made an interpreter of, where the interpreter may
/// fork: `forking` is what it wants done about that.
#[expect(unsafe_code, reason = "forks")]
pub unsafe fn serve(forking: Forking) -> io::Result<Changes> {
    // SAFETY: opened for this function alone.
    let mut worker = Channel::new(unsafe { system::inherited(CHANNEL) }?);
    let refuse = |worker: &Channel, error: io::Error| {
        worker.report(&Report::Failed { reason: launch::short(&error.to_string()) })?;
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
            let error = "an interpreter only makes copies, with a socket each";
            return refuse(&worker, io::Error::other(error));
        };
        // SAFETY: `prepare` has found no second thread, and nothing here starts one.
        let forked =
            unsafe { forking.around(|| system::fork(), |forked| matches!(forked, Ok(None))) };
        match forked {
            Ok(Some(process)) => {
                let process = process.as_raw_nonzero().get().unsigned_abs();
                worker.report(&Report::Copied { process })?;
            }
            Ok(None) => {
                let start = launch(socket, &mut copies, vfork)?;
                let changes = changes(&copies.start, start);
                // With what else owns a descriptor, before there are others.
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
    system::exit(0)
}

/// Does what copies would have to do otherwise, each of them.
#[expect(unsafe_code, reason = "takes over what it was started with")]
fn prepare(forking: Forking) -> io::Result<WarmContainers> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        // A copy has one thread, and finds locked for ever what the others held.
        return Err(io::Error::other(format!("{threads} threads run after the start, not one")));
    }
    try_a_copy(forking)?;
    // SAFETY: opened for this function alone, which is called once.
    let agent = unsafe { system::inherited(AGENT) }?;
    let start = own_start()?;
    // What most programs are started with, so that they needn't see to it.
    system::set_cmdline(&start.command, &start.environment)?;
    let copies = WarmContainers::new(forking, start, SignalEffects::take(), agent);
    system::collapse_memory()?;
    system::block_stop_signals()?;
    Ok(copies)
}

/// A file that the interpreter keeps open: matplotlib does that with a font.
pub(crate) struct KeptFile {
    number: RawFd,
    path: PathBuf,
    offset: u64,
}

/// Files that this process has open beyond its standard streams and `ours`.
///
/// # Errors
/// If there is one that a program can't have opened anew for itself.
fn kept_files(ours: &[RawFd]) -> io::Result<Vec<KeptFile>> {
    let own = Path::new("/proc/self/fd");
    let entries = fs::read_dir(own)?.map(|entry| {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        Ok((number.ok_or(io::ErrorKind::InvalidData)?, fs::read_link(entry.path())?))
    });
    let entries: Vec<(RawFd, PathBuf)> = entries.collect::<io::Result<_>>()?;
    // Where this very directory was read from is a descriptor, too.
    let own = own.canonicalize()?;
    let is_kept =
        |(number, path): &(RawFd, PathBuf)| *number > 2 && !ours.contains(number) && *path != own;
    entries.into_iter().filter(is_kept).map(|(number, path)| keep(number, path)).collect()
}

/// Makes a copy that is good for nothing, to see whether copies keep files open that programs can't have.
/// Matplotlib's forget their fonts, for example.
#[expect(unsafe_code, reason = "forks")]
fn try_a_copy(forking: Forking) -> io::Result<()> {
    // SAFETY: `prepare` has found no second thread.
    let copy = unsafe { forking.around(|| system::fork(), |forked| matches!(forked, Ok(None))) }?;
    let Some(copy) = copy else {
        let kept = kept_files(&[CHANNEL, AGENT]);
        if let Err(error) = &kept {
            eprintln!("sandfleet-agent: {error}");
        }
        system::exit(kept.is_err().into())
    };
    match waitpid(Some(copy), WaitOptions::empty())? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(io::Error::other("a copy has files open that programs can't have")),
    }
}

#[expect(unsafe_code, reason = "looks at what the interpreter has open")]
fn keep(number: RawFd, path: PathBuf) -> io::Result<KeptFile> {
    // SAFETY: it is open, and this process has one thread, which doesn't close it here.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let (facts, same) = (fstat(file)?, stat(&path));
    let is_named =
        same.is_ok_and(|same| (same.st_dev, same.st_ino) == (facts.st_dev, facts.st_ino));
    let is_read_only = fcntl_getfl(file)? & OFlags::RWMODE == OFlags::RDONLY;
    if !is_named || !is_read_only || FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile
    {
        return Err(io::Error::other(format!("{} is open after the start", path.display())));
    }
    Ok(KeptFile { number, offset: tell(file)?, path })
}

impl KeptFile {
    /// Has a program find the file as the interpreter had it, with an offset of its own: one that is shared
    /// would tell of other programs, and be moved by them.
    ///
    /// # Safety
    /// Nothing in this process has the number, or uses what has it.
    #[expect(unsafe_code, reason = "hands the contract on")]
    unsafe fn open(&self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        seek(&file, SeekFrom::Start(self.offset))?;
        // SAFETY: as the caller promises.
        unsafe { system::place_descriptor(file.into(), self.number) }
    }
}

/// The copy's part, until its slot isn't needed any more.
#[expect(unsafe_code, reason = "closes what the zygote has")]
fn launch(socket: OwnedFd, copies: &mut WarmContainers, vfork: bool) -> io::Result<Start> {
    rustix::process::setsid()?;
    copies.kept = kept_files(&[CHANNEL, socket.as_raw_fd(), copies.agent.as_raw_fd()])?;
    // SAFETY: the interpreter's own are used in programs only, which open them anew. The zygote's socket is used no
    // more, and what owns it is dropped in programs only, before these open anything.
    unsafe { system::close_others(&mut [socket.as_raw_fd(), copies.agent.as_raw_fd()]) }?;
    if vfork {
        copies.share_memory()?;
    }
    // SAFETY: a copy of the interpreter's only thread.
    match unsafe { launch::serve_slot(Channel::new(socket), copies) } {
        Ok(Some(start)) => Ok(*start),
        Ok(None) => system::exit(0),
        Err(error) => {
            eprintln!("sandfleet-agent: {error}");
            system::exit(1)
        }
    }
}
