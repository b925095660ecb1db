//! The launcher: a small process that stays in one slot's control group and starts that slot's
//! containers, one after the other.
//!
//! It exists because the worker must not fork: it is large and has threads. The launcher is
//! neither. It builds the slot's root tree and user namespace once; for each job it forks a child
//! into fresh namespaces, and the child becomes the agent without another exec. The worker talks
//! to it over a socket that keeps message boundaries and carries descriptors.
//!
//! A launcher may also be a copy of a [zygote](crate::zygote), an interpreter that is started already; then
//! so are its containers' programs, and a container's agent is itself by an exec after all (`warm_container.rs`).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::net::UnixStream,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, getegid, geteuid, pidfd_open, pidfd_send_signal,
        waitpid,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    counters::Counters,
    frame::{Kind, Sender},
    landlock,
    message::ScratchSpace,
    namespace,
    program::Exec,
    rootfs, session,
    settings::{self, Settings},
    system,
};
pub use crate::{
    channel::MAX_REPORT,
    counters::{CHARGE_BYTES, COUNTER_FILES},
};

/// What the worker says to a launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// First of all: what every container of this slot has in common. Comes with the
    /// [`COUNTER_FILES`] descriptors of the slot's control group.
    Prepare {
        /// The user that containers run as, as the host sees it. A launcher that isn't root has
        /// only its own.
        user: u32,
        /// The system call filter: an array of `struct sock_filter`.
        filter: Vec<u8>,
        /// What the kernel is set to in each container's network namespace: names as sysctl(8) has
        /// them, and values.
        settings: Vec<(String, String)>,
    },
    /// Start a container. Comes with the descriptor over which the agent speaks.
    Launch {
        /// Its scratch space.
        scratch_bytes: u64,
        /// How many files fit into it.
        scratch_inodes: u64,
    },
    /// End the container now.
    Kill,
}

/// What a launcher says to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Containers can be started.
    Prepared,
    /// The container is gone with every process in it.
    Exited {
        /// Whether PID 1 itself was killed, which the agent never does by itself.
        killed: bool,
    },
    /// A barrier can't be installed.
    Failed(Failed),
}

macro_rules! barriers {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $fix:literal;)+) => {
        /// What stands between a native container and its host.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Barrier { $($(#[doc = $doc])+ $name,)+ }

        impl Barrier {
            /// Every barrier, in the order in which they are installed.
            pub const ALL: &[Barrier] = &[$(Barrier::$name,)+];

            /// The barrier's name, for people.
            pub fn as_str(self) -> &'static str {
                match self { $(Barrier::$name => $text,)+ }
            }

            /// What to do where it can't be installed.
            pub fn fix(self) -> &'static str {
                match self { $(Barrier::$name => $fix,)+ }
            }
        }
    };
}

barriers! {
    /// A user that exists nowhere else.
    UserNamespace = "user namespace",
        "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns), run as root, or use --sandbox docker";
    /// A mount table of its own.
    MountNamespace = "mount namespace",
        "run outside of a container that forbids mounting, or use --sandbox docker";
    /// A read-only root.
    RootTree = "read-only root tree",
        "run on Linux 5.12 or newer and outside of a container that forbids mounting, or use --sandbox docker";
    /// All other namespaces.
    Namespaces = "namespaces",
        "run on a kernel with pid, mount, net, ipc, uts and cgroup namespaces, or use --sandbox docker";
    /// Processes of its own and no kernel settings.
    Proc = "own /proc",
        "run on Linux 5.8 or newer; in a container, one whose /proc isn't masked; or use --sandbox docker";
    /// Bounded scratch space.
    ScratchSpace = "scratch space", "run where tmpfs can be mounted, or use --sandbox docker";
    /// A name of its own.
    HostName = "host name", "run outside of a container that forbids it, or use --sandbox docker";
    /// An empty network.
    Network = "empty network", "run outside of a container that forbids it, or use --sandbox docker";
    /// No privileges, for good.
    Privileges = "no privileges", "run as root or as a user who may make user namespaces";
    /// Only listed system calls.
    Seccomp = "system call filter",
        "run on a kernel with seccomp filters (CONFIG_SECCOMP_FILTER), or use --sandbox docker";
}

impl Barrier {
    pub(crate) fn failed(self, reason: impl Into<String>) -> Failed {
        Failed { barrier: self, reason: short(&reason.into()) }
    }
}

/// The beginning of a reason, far shorter than what fits into a report.
pub(crate) fn short(reason: &str) -> String {
    reason.chars().take(1000).collect()
}

/// A barrier that couldn't be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which one.
    pub barrier: Barrier,
    /// What the kernel said.
    pub reason: String,
}

impl Failed {
    /// Which barrier, and why; without the way out, which [`Barrier::fix`] says.
    pub fn what(&self) -> String {
        format!("the barrier \"{}\" can't be installed: {}", self.barrier.as_str(), self.reason)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; to fix: {}", self.what(), self.barrier.fix())
    }
}

/// What all containers of the slot have in common.
pub(crate) struct Slot {
    pub(crate) counters: Counters,
    user_namespace: OwnedFd,
    filter: Vec<u8>,
    settings: Settings,
    /// The containers' user as the owner of files that the launcher mounts.
    owner: u32,
    is_root: bool,
}

/// What becomes the containers of a slot.
pub(crate) trait ContainerLauncher {
    /// Starts one that speaks over `stream`.
    ///
    /// # Errors
    /// Those of what it takes beside the container's own barriers.
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

/// What came of the start of a container, and as whom the start came back.
pub(crate) enum Launched {
    /// As the launcher, which has a container.
    Container(Pid),
    /// As the launcher, which has none.
    Failed(Failed),
    /// As the container's program, within its bounds.
    Program(Box<Start>),
}

/// What a program is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// Serves the worker on standard input until it goes away.
///
/// # Errors
/// Those of the socket; a barrier that fails is reported to the worker instead.
///
/// # Safety
/// The caller is its process's only thread, and nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
pub unsafe fn serve() -> io::Result<()> {
    leave_worker()?;
    let worker = io::stdin().as_fd().try_clone_to_owned()?;
    // SAFETY: as the caller promises.
    unsafe { serve_slot(Channel::new(worker), &mut Forks) }.map(drop)
}

/// What is meant for the worker (Ctrl-C, a service manager's stop) must not end containers that
/// the worker lets finish.
pub(crate) fn leave_worker() -> io::Result<()> {
    rustix::process::setsid()?;
    system::reset_signal_dispositions();
    system::block_stop_signals()
}

/// Starts the containers of one slot until the worker goes away; or comes back as a program in one
/// of them, if that is how `origin` makes programs.
///
/// # Safety
/// The caller is its process's only thread, and nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
pub(crate) unsafe fn serve_slot(
    mut worker: Channel,
    origin: &mut dyn ContainerLauncher,
) -> io::Result<Option<Box<Start>>> {
    let mut slot = None;
    while let Some((command, descriptors)) = worker.receive()? {
        match command {
            Command::Prepare { user, filter, settings } => {
                // SAFETY: as the caller promises.
                match unsafe { prepare(user, filter, &settings, descriptors) } {
                    Ok(prepared) => {
                        slot = Some(prepared);
                        worker.report(&Report::Prepared)?;
                    }
                    Err(failed) => worker.report(&Report::Failed(failed))?,
                }
            }
            Command::Launch { scratch_bytes, scratch_inodes } => {
                let prepared = slot.as_ref().ok_or_else(|| io::Error::other("not prepared"))?;
                let stream = descriptors.into_iter().next();
                let stream =
                    stream.ok_or_else(|| io::Error::other("launch without a descriptor"))?;
                let scratch = ScratchSpace {
                    bytes: scratch_bytes,
                    inodes: scratch_inodes,
                    owner: prepared.owner,
                };
                // SAFETY: as the caller promises.
                match unsafe { origin.start(prepared, &scratch, stream.into()) }? {
                    Launched::Container(container) => {
                        let killed = attend(&mut worker, container)?;
                        worker.report(&Report::Exited { killed })?;
                    }
                    Launched::Failed(failed) => worker.report(&Report::Failed(failed))?,
                    Launched::Program(start) => return Ok(Some(start)),
                }
            }
            // The container it meant has ended by itself meanwhile.
            Command::Kill => {}
        }
    }
    Ok(None)
}

/// # Safety
/// The caller is its process's only thread.
#[expect(unsafe_code, reason = "hands the contract on")]
unsafe fn prepare(
    user: u32,
    filter: Vec<u8>,
    settings: &[(String, String)],
    descriptors: Vec<OwnedFd>,
) -> Result<Slot, Failed> {
    let is_root = geteuid().is_root();
    if !is_root {
        namespace::become_inner_root(geteuid().as_raw(), getegid().as_raw())?;
    }
    let owner = if is_root { user } else { 0 };
    // While the host's /proc can still be seen.
    let settings = Settings::new(settings)?;
    if !is_root {
        settings::keep_quotas_apart()?;
    }
    // SAFETY: as the caller promises.
    let user_namespace = unsafe { namespace::make_user_namespace(owner) }?;
    namespace::leave_host_mounts()?;
    rootfs::build(is_root, rootfs::overlay, (!is_root).then_some(rootfs::KEPT_PROC))?;
    let counters = Counters::from_descriptors(descriptors);
    Ok(Slot { counters, user_namespace, filter, settings, owner, is_root })
}

/// Containers that are copies of this process.
struct Forks;

impl ContainerLauncher for Forks {
    #[expect(unsafe_code, reason = "hands the contract on")]
    unsafe fn start(
        &mut self,
        slot: &Slot,
        scratch: &ScratchSpace,
        stream: UnixStream,
    ) -> io::Result<Launched> {
        // Past this only the agent's copy of the stream is left, so that its end is the stream's end.
        // SAFETY: as the caller promises.
        match unsafe { namespace::fork_container() } {
            Ok(Some(pid)) => Ok(Launched::Container(pid)),
            Ok(None) => become_agent(slot, scratch, stream),
            Err(failed) => Ok(Launched::Failed(failed)),
        }
    }
}

/// The child's part: everything a container has of its own, then the job.
fn become_agent(slot: &Slot, scratch: &ScratchSpace, stream: UnixStream) -> ! {
    let served = match build(slot, scratch) {
        Ok(()) => serve_container(slot, stream),
        Err(failed) => complain(&stream, &failed),
    };
    system::exit(served.is_err().into())
}

/// Makes a container of this process, the first in new namespaces: everything it has of its own.
pub(crate) fn build(slot: &Slot, scratch: &ScratchSpace) -> Result<(), Failed> {
    namespace::leave_session()?;
    rootfs::enter_container(scratch, !slot.is_root)?;
    namespace::setup_uts_and_loopback()?;
    slot.settings.apply()?;
    namespace::drop_privileges(&slot.user_namespace, slot.is_root, &slot.filter)
}

/// Says over the agent's stream what keeps it from being an agent.
pub(crate) fn complain(stream: &UnixStream, failed: &Failed) -> io::Result<()> {
    Sender::new(stream).send(Kind::Barrier, &serde_json::to_vec(failed)?)
}

#[expect(unsafe_code, reason = "closes what the launcher has")]
fn serve_container(slot: &Slot, stream: UnixStream) -> io::Result<()> {
    let mut keep = slot.counters.descriptors();
    keep.push(stream.as_raw_fd());
    be_silent()?;
    // SAFETY: this is a copy of the launcher, of which nothing goes on here but what is below; what owns the
    // others is on the stack of a function that never returns (`become_agent`).
    unsafe { system::close_others(&mut keep) }?;
    let landlock = landlock::restrict_self();
    session::serve(&stream, &stream, &slot.counters, landlock, &mut Exec)
}

/// Leaves nothing at descriptors 0 to 2: standard input is the slot's socket to the worker, which nothing
/// in a container may hold.
pub(crate) fn be_silent() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Waits for the container's end; says whether it had to be killed. Without a worker it is
/// killed and so are we: then nobody is left to account for it.
fn attend(worker: &mut Channel, container: Pid) -> io::Result<bool> {
    let handle = pidfd_open(container, PidfdFlags::empty())?;
    let kill = || match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(io::Error::from(error)),
    };
    let mut worker_is_there = true;
    loop {
        let mut waiting = vec![PollFd::new(&handle, PollFlags::IN)];
        if worker_is_there {
            waiting.push(PollFd::new(worker, PollFlags::IN));
        }
        match poll(&mut waiting, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !waiting[0].revents().is_empty() {
            break;
        }
        match worker.receive()? {
            Some((Command::Kill, _)) => kill()?,
            Some(_) => return Err(io::Error::other("a container is running already")),
            None => {
                worker_is_there = false;
                kill()?;
            }
        }
    }
    let status = waitpid(Some(container), WaitOptions::empty())?;
    Ok(status.is_some_and(|(_, status)| status.signaled()))
}
