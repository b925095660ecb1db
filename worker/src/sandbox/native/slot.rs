//! A slot: one launcher in one control group, running one container at a time.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandfleet_agent::protocol::launcher::{Command, Report};
use sandfleet_common::Limits;
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};

use super::{
    cgroup::{MemoryEvents, SlotCgroup},
    disposal::{Disposal, Premises, processes_in},
    launcher::Launcher,
    roots::{self, Root},
    zygote::Zygote,
};
use crate::{
    host::processes,
    sandbox::{SandboxError, agent_binary, policy::Policy, uid_pool::ReservedUser},
};

/// How long a launcher may take to get ready, and a killed container to be gone.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the kernel may take to free the memory of a container that is gone; then the slot is
/// given up and another is made.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);

/// A sandbox that runs a single program doesn't start a container for a second one.
const WORTH_IT: u64 = 2;

/// What a slot may hold between jobs: the launcher and its root tree take less.
const SETTLED_BYTES: u64 = 4 << 20;

/// One slot, ready for its next container.
#[derive(Debug)]
pub(crate) struct Slot {
    // First, so that it is dropped first: its end empties the group.
    launcher: Launcher,
    group: SlotCgroup,
    _premises: Premises,
    /// What the launcher is a copy of.
    zygote: Option<Arc<Zygote>>,
    /// What its containers see.
    root: Root,
    /// Whether a container is in the slot.
    occupied: bool,
    /// That container, if it waits for a program yet.
    waiting: Option<Waiting>,
    /// How many programs ran here.
    programs: u64,
}

/// A container that was started ahead. Like every other it serves one program.
#[derive(Debug)]
struct Waiting {
    stream: UnixStream,
    size: ContainerSize,
}

/// What a container's file systems have from its start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContainerSize {
    scratch_bytes: u64,
    memory_bytes: u64,
}

impl ContainerSize {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { scratch_bytes: limits.scratch_bytes, memory_bytes: limits.memory_bytes }
    }
}

impl Waiting {
    /// Whether the other end is still open.
    fn is_there(&self) -> bool {
        let mut end = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut end, Some(&Timespec::default())).is_ok_and(|gone| gone == 0)
    }
}

/// What a container's program is to see of the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) processors: u32,
    /// How much of them it may use.
    pub(crate) cpus: f64,
    /// The sysctls of its network namespace.
    pub(crate) network_settings: Vec<(String, String)>,
}

/// What the programs of a slot's containers are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The tree that they see.
    pub(crate) root: Root,
    /// The interpreter there that they are copies of.
    pub(crate) zygote: Option<Arc<Zygote>>,
}

/// A container that runs in a slot.
pub(crate) struct Running {
    /// The stream to its agent.
    pub(crate) stream: UnixStream,
    /// Memory that was in use before it, in bytes.
    pub(crate) memory_before: u64,
    /// What had happened for want of memory before it.
    pub(crate) memory_events_before: MemoryEvents,
    /// Whether it was started ahead.
    pub(crate) was_waiting: bool,
}

impl Slot {
    /// Makes a slot of `launcher`, which is a copy of the zygote if there is one; its containers run as `user`.
    pub(crate) async fn make(
        launcher: Launcher,
        programs: Programs,
        group: SlotCgroup,
        user: ReservedUser,
        filter: &[u8],
        machine: Machine,
        disposal: Disposal,
    ) -> Result<Self, SandboxError> {
        let Programs { root, zygote } = programs;
        let user_id = user.id;
        // From here on, whatever fails, they are disposed of.
        let premises = Premises::new(group.directories(), user, disposal);
        let process = launcher
            .process()
            .ok_or_else(|| SandboxError::failed("starting a launcher", "gone"))?;
        group.add(process)?;
        let counters =
            group.counters().map_err(|error| SandboxError::failed("opening counters", error))?;
        let module = agent_binary::file("python", agent_binary::PYTHON_MODULE)
            .map_err(|error| SandboxError::failed("preparing a slot", error))?;
        let descriptors: Vec<_> = counters.iter().chain([&module]).map(OwnedFd::as_fd).collect();
        let prepare = Command::Prepare {
            // A copy of a zygote has the zygote's root, which has these programs already.
            root: if zygote.is_some() { "/".into() } else { roots::path(&root) },
            user: user_id,
            filter: filter.to_vec(),
            settings: machine.network_settings,
            processors: machine.processors,
            cpu_quota_us: (machine.cpus * 100_000.0).ceil() as u64,
        };
        let mut slot = Self {
            launcher,
            group,
            _premises: premises,
            zygote,
            root,
            occupied: false,
            waiting: None,
            programs: 0,
        };
        let ready = async {
            slot.launcher.send(&prepare, &descriptors).await?;
            slot.launcher.report().await
        };
        match timeout(DEADLINE, ready).await {
            Ok(Ok(Report::Prepared)) => {}
            Ok(Ok(Report::Failed(failed))) => {
                return Err(failed.into());
            }
            Ok(Ok(other)) => {
                return Err(SandboxError::failed("preparing a slot", format!("{other:?}")));
            }
            Ok(Err(error)) => return Err(SandboxError::failed("preparing a slot", error)),
            Err(_) => {
                let reason = format!("no answer in 10 s: {}", slot.processes());
                return Err(SandboxError::failed("preparing a slot", reason));
            }
        }
        if slot.is_warm() {
            slot.group.settle();
        }
        Ok(slot)
    }

    /// What its containers see.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Whether this is a slot of `zygote`, or of none, whose containers see `root`.
    pub(crate) fn is_of(&self, zygote: Option<&Arc<Zygote>>, root: &Root) -> bool {
        if !roots::is_same(&self.root, root) {
            return false;
        }
        match (&self.zygote, zygote) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether programs start from an interpreter that is there already.
    pub(crate) fn is_warm(&self) -> bool {
        self.zygote.is_some()
    }

    /// Whether the interpreter that it is of should serve no more programs.
    pub(crate) fn is_expired(&self) -> bool {
        self.zygote.as_ref().is_some_and(|zygote| zygote.is_expired())
    }

    /// A container for a program with `limits`: the one that waits, if it is fit for that.
    pub(crate) async fn launch(
        &mut self,
        limits: &Limits,
        policy: &Policy,
    ) -> Result<Running, SandboxError> {
        let waiting = self.waiting.take_if(|it| it.size == ContainerSize::of(limits));
        if waiting.is_none() {
            self.clear(true).await?;
        }
        let memory_before = self.group.apply(limits, policy)?;
        let memory_events_before = self.group.memory_events();
        let was_waiting = waiting.is_some();
        let stream = match waiting {
            Some(waiting) => waiting.stream,
            None => self.start(ContainerSize::of(limits), policy).await?,
        };
        self.programs += 1;
        Ok(Running { stream, memory_before, memory_events_before, was_waiting })
    }

    /// How good the slot is for a program that wants a container of this size: best if a container waits in it
    /// that is fit for that, and worst if one has to make room first.
    pub(crate) fn match_score(&self, size: ContainerSize) -> u8 {
        match &self.waiting {
            Some(waiting) if waiting.size == size => 2,
            Some(_) => 0,
            None => 1,
        }
    }

    /// Whether the container that waited here, if one did, has gone away: then so should the slot.
    pub(crate) fn container_died(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.is_there())
    }

    /// Starts a container for the next program, so that it needn't wait for one. It gets its limits
    /// with its program; only the scratch space and /dev/shm have their sizes from the start, and for that the next
    /// program is taken to be like the last one, which had `limits`.
    pub(crate) async fn launch_ahead(
        &mut self,
        limits: &Limits,
        policy: &Policy,
    ) -> Result<bool, SandboxError> {
        let is_worth_it = self.programs >= WORTH_IT;
        if is_worth_it {
            let size = ContainerSize::of(limits);
            let stream = self.start(size, policy).await?;
            self.waiting = Some(Waiting { stream, size });
        }
        Ok(is_worth_it)
    }

    async fn start(
        &mut self,
        size: ContainerSize,
        policy: &Policy,
    ) -> Result<UnixStream, SandboxError> {
        let failed = |error| SandboxError::failed("starting a container", error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        // Tokio's sockets don't block; the agent's end has to.
        let theirs = theirs.into_std().map_err(failed)?;
        theirs.set_nonblocking(false).map_err(failed)?;
        let command = Command::Launch {
            scratch_bytes: size.scratch_bytes,
            // No less than the control group has: what doesn't fit is a lack of memory, and the verdict says so.
            shared_bytes: size.memory_bytes.saturating_add(policy.overhead_bytes),
            scratch_inodes: policy.scratch_inodes,
        };
        self.occupied = true;
        self.launcher.send(&command, &[theirs.as_fd()]).await.map_err(failed)?;
        Ok(ours)
    }

    /// Waits until the container is gone, after ending it if `kill` says so. The slot is fit for
    /// another one only if this succeeds.
    pub(crate) async fn clear(&mut self, kill: bool) -> Result<(), SandboxError> {
        self.waiting = None;
        if !self.occupied {
            return Ok(());
        }
        let failed = |error| SandboxError::failed("ending a container", error);
        if kill {
            self.launcher.send(&Command::Kill, &[]).await.map_err(failed)?;
        }
        match timeout(DEADLINE, self.launcher.report()).await {
            Ok(Ok(Report::Exited { .. })) => {}
            Ok(Ok(Report::Failed(reason))) => {
                return Err(reason.into());
            }
            Ok(Ok(Report::Prepared)) => {
                return Err(SandboxError::failed("ending a container", "prepared instead"));
            }
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => {
                let reason = format!("not gone in 10 s: {}", self.processes());
                return Err(SandboxError::failed("ending a container", reason));
            }
        }
        let left = self.group.processes();
        if left.iter().any(|process| Some(*process) != self.launcher.process()) {
            return Err(SandboxError::failed("clearing a slot", format!("{left:?} are left")));
        }
        self.settle_memory().await?;
        self.occupied = false;
        Ok(())
    }

    /// Waits until the container's memory is given back. What no process holds any more (System V
    /// segments, files in sockets that were never read) the kernel frees some time after the last
    /// one's end, and until then it would count against the next job.
    async fn settle_memory(&self) -> Result<(), SandboxError> {
        let settled = async {
            let settled_bytes = self.group.launcher_bytes() + SETTLED_BYTES;
            // The second question takes the kernel a hundred times as long as the first.
            while self.group.memory_used() > settled_bytes
                && self.group.memory_held() > settled_bytes
            {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SETTLE_DEADLINE, settled).await.map_err(|_| {
            let held = self.group.memory_held();
            SandboxError::failed("clearing a slot", format!("{held} bytes are still held"))
        })
    }

    /// The processes in the slot, for one line.
    pub(crate) fn processes(&self) -> String {
        let group = self.group.directories();
        let found: Vec<_> = group.iter().take(1).flat_map(|group| processes_in(group)).collect();
        processes::listed(&found)
    }

    /// What happened for want of memory in this slot, ever.
    pub(crate) fn memory_events(&self) -> MemoryEvents {
        self.group.memory_events()
    }

    /// The most memory in use since the program was launched, where this kernel keeps no peak that its
    /// agent could read and tells it all the same.
    pub(crate) fn risen_peak(&self) -> Option<u64> {
        self.group.risen_peak()
    }
}
