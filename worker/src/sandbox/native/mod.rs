//! The native sandbox: containers made of the kernel's own parts, without any daemon.
//!
//! The worker keeps a slot (`slot.rs`) per job that may run at a time. A slot is a small process, the
//! launcher, in a control group of its own; it forks each container into fresh namespaces. See
//! `sandfleet_agent::launcher` for the other side.

mod cgroup;
mod channel;
mod disposal;
mod filter;
mod launcher;
mod slot;
mod slot_guard;
mod warm;
mod zygote;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use sandfleet_common::Isolation;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::warn;

use self::{
    cgroup::{Hierarchy, MemoryEvents, SlotCgroup, WorkerCgroup},
    disposal::Disposal,
    launcher::Launcher,
    slot::Slot,
    slot_guard::SlotGuard,
    warm::ZygotePool,
    zygote::Zygote,
};
use super::{
    Description, End, Outcome, Plan, Sandbox, SandboxError, Watcher,
    capacity::Capacity,
    policy::Policy,
    session::{self, Loss, SessionContext, SessionError, Transcript, Transport},
    uid_pool::ReservedUser,
    wait_for_cleanups,
};
use crate::{catalogue::WarmStart, host::limits::Need};

/// The barrier that is the host's alone to give.
pub(crate) use cgroup::BARRIER as CGROUPS;

/// Which control groups this process can use.
///
/// # Errors
/// Names what is missing and the ways out.
pub(crate) fn describe_cgroups(config: &NativeConfig) -> Result<String, SandboxError> {
    let hierarchy = Hierarchy::find(&config.cgroup_parent)?;
    let version = hierarchy.version();
    drop(WorkerCgroup::claim(hierarchy)?);
    Ok(format!("version {version}: memory, pids, cpu"))
}

/// How a native sandbox is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeConfig {
    /// The control group to work below, counted from the top of the tree; empty for our own.
    pub cgroup_parent: String,
    /// The first user number for containers.
    pub user_base: u32,
    /// Processors that one program may use.
    pub cpus: f64,
    /// Interpreters that may be started ahead.
    pub warm: Vec<WarmStart>,
    /// How many programs run at a time.
    pub slots: usize,
}

/// Runs programs in containers of its own making.
pub struct NativeSandbox {
    shared: Arc<Shared>,
    description: Description,
}

struct Shared {
    config: NativeConfig,
    policy: Policy,
    filter: Vec<u8>,
    worker_cgroup: WorkerCgroup,
    hierarchy: Hierarchy,
    /// None once the sandbox is closed: a slot that comes back then goes the way of the others.
    idle: Mutex<Option<Vec<Slot>>>,
    zygote_pool: ZygotePool,
    /// How many containers may run at a time. Without root all of them would be the same user,
    /// and so neighbours that can use up each other's kernel quotas: then there is one.
    turns: Arc<Semaphore>,
    /// Ends of containers that go on when the jobs' futures are gone.
    cleanups: TaskTracker,
    /// The places that programs run in.
    capacity: Arc<Capacity>,
    /// Slots that have a job.
    leased: AtomicUsize,
    made: AtomicUsize,
}

impl NativeSandbox {
    /// Sets the sandbox up and makes its first slot, so that a barrier that this host can't give
    /// is known before any job is taken.
    ///
    /// # Errors
    /// Names the missing barrier and the ways out.
    pub async fn open(config: NativeConfig) -> Result<Self, SandboxError> {
        let policy = Policy::strict();
        lower(&policy)?;
        let filter = filter::compile(&policy.system_calls)
            .map_err(|error| SandboxError::failed("compiling the system call filter", error))?;
        let hierarchy = Hierarchy::find(&config.cgroup_parent)?;
        let worker_cgroup = WorkerCgroup::claim(hierarchy.clone())?;
        let description = Description {
            backend: "native",
            runtime: "sandfleet".into(),
            isolation: Isolation::Container,
            image: "host:/usr".into(),
            image_digest: None,
            policy_hash: policy.hash(),
        };
        // The file that a copy of an interpreter runs from is the host's own, outside of every tree;
        // it takes Landlock to keep programs from it. Without root there is one slot anyway.
        let is_root = rustix::process::geteuid().is_root();
        let can_be_warm = is_root && sandfleet_agent::landlock_version().is_some();
        let zygote_pool =
            ZygotePool::new(if can_be_warm { config.warm.clone() } else { Vec::new() });
        let slots = if is_root { config.slots } else { 1 };
        let shared = Shared {
            capacity: Capacity::new(slots),
            config,
            zygote_pool,
            policy,
            filter,
            worker_cgroup,
            hierarchy,
            idle: Mutex::new(Some(Vec::new())),
            turns: Arc::new(Semaphore::new(if is_root { Semaphore::MAX_PERMITS } else { 1 })),
            cleanups: TaskTracker::new(),
            leased: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        };
        let sandbox = Self { shared: Arc::new(shared), description };
        let first = sandbox.shared.make_slot(None).await?;
        sandbox.shared.put_back(first);
        Ok(sandbox)
    }
}

/// What this backend does about each line of the policy. The namespaces, the user and the root
/// tree are built into the launcher: there is nothing to choose, so it only accepts the strict
/// choice.
fn lower(policy: &Policy) -> Result<(), SandboxError> {
    match policy {
        Policy {
            network: false,
            writable_root: false,
            new_privileges: false,
            capabilities: false,
            swap: _, // SlotCgroup
            shared_ipc: false,
            system_calls: _,      // filter
            scratch_inodes: _,    // the launch command
            stack_bytes: _,       // Policy::bounds
            output_kill_bytes: _, // Policy::bounds
            stderr_tail_bytes: _, // Policy::bounds
            artifact_count: _,    // Policy::bounds
            overhead_bytes: _,    // SlotCgroup
            network_settings: _,  // the launch command
            socket_bytes: _,      // Policy::bounds
            mappings: _,          // Policy::bounds
        } => Ok(()),
        _ => Err(SandboxError::failed(
            "lowering the policy",
            "the native sandbox can't be made weaker",
        )),
    }
}

impl Shared {
    /// A new slot, of a copy of `zygote` if there is one.
    async fn make_slot(&self, zygote: Option<Arc<Zygote>>) -> Result<Slot, SandboxError> {
        let launcher = match &zygote {
            Some(zygote) => zygote.copy().await,
            None => Launcher::start(),
        };
        let launcher = launcher.map_err(|error| {
            SandboxError::failed_for("starting a launcher", Need::Process, error)
        })?;
        let user = match rustix::process::geteuid().is_root() {
            true => ReservedUser::reserve(self.config.user_base, 0)?,
            false => ReservedUser::own(),
        };
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let group = SlotCgroup::make(&self.worker_cgroup, number, self.config.cpus)?;
        let settings = self.policy.network_settings();
        let disposal =
            Disposal { capacity: Arc::clone(&self.capacity), cleanups: self.cleanups.clone() };
        Slot::make(launcher, zygote, group, user, &self.filter, settings, disposal).await
    }

    /// A slot for the program of `plan`.
    async fn take_slot(&self, plan: &Plan) -> Result<Slot, SandboxError> {
        if let Some(name) = plan.warm.as_deref()
            && let Some(zygote) = self.zygote_pool.zygote(name)
        {
            match self.idle_slot(Some(&zygote), plan) {
                Some(slot) => return Ok(slot),
                None => match self.make_slot(Some(zygote.clone())).await {
                    Ok(slot) => return Ok(slot),
                    Err(error) => {
                        warn!(interpreter = name, %error, "a warm interpreter is given up");
                        self.zygote_pool.give_up(name, &zygote);
                    }
                },
            }
        }
        match self.idle_slot(None, plan) {
            Some(slot) => Ok(slot),
            None => self.make_slot(None).await,
        }
    }

    fn idle_slot(&self, zygote: Option<&Arc<Zygote>>, plan: &Plan) -> Option<Slot> {
        loop {
            let slot = self.best_idle_slot(zygote, plan.limits.scratch_bytes)?;
            if !slot.container_died() {
                return Some(slot);
            }
            warn!("a container that waited is gone; its slot is given up");
        }
    }

    fn best_idle_slot(&self, zygote: Option<&Arc<Zygote>>, scratch_bytes: u64) -> Option<Slot> {
        let mut idle = self.lock();
        let idle = idle.as_mut()?;
        // Of those that are as good as each other the one that is idle for longest: its container is
        // the likeliest to be there already.
        let places = (0..idle.len()).rev().filter(|place| idle[*place].is_of(zygote));
        let place = places.max_by_key(|place| idle[*place].match_score(scratch_bytes))?;
        Some(idle.remove(place))
    }

    fn put_back(&self, slot: Slot) {
        if let Some(idle) = &mut *self.lock() {
            idle.push(slot);
            idle.retain(|slot| !slot.is_expired());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Slot>>> {
        // The list is only pushed to and popped from: a panic elsewhere can't leave it torn.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Why a container may be gone in whose group this happened for want of memory, before and after it.
fn loss_between(before: MemoryEvents, after: MemoryEvents) -> Loss {
    match (after.kills > before.kills, after.limit_hits > before.limit_hits) {
        (false, _) => Loss::Unexplained,
        (true, true) => Loss::OutOfMemory,
        (true, false) => Loss::HostOutOfMemory,
    }
}

/// Nobody is between a container and the worker.
struct Kernel;

#[async_trait]
impl Transport for Kernel {
    async fn ping(&self) -> Result<(), SandboxError> {
        Ok(())
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        let begun = Instant::now();
        let (shared, policy) = (&self.shared, &self.shared.policy);
        loop {
            let _place = shared.capacity.enter().await?;
            let turn = Arc::clone(&shared.turns).acquire_owned().await.ok();
            let mut slot_guard = SlotGuard::take(shared, plan, turn).await?;
            let warm = slot_guard.slot()?.is_warm();
            let mut running = slot_guard.slot()?.launch(&plan.limits, policy).await?;

            let mut transcript = Transcript::default();
            let (from, to) = running.stream.split();
            let isolation = self.description.isolation;
            let cpus = shared.config.cpus;
            let context =
                SessionContext { plan, policy, isolation, cpus, watcher, transport: &Kernel };
            let held = session::run(from, to, &context, &mut transcript).await;
            drop(running.stream);
            let mut loss = Loss::Unexplained;
            let risen_peak = slot_guard.slot()?.risen_peak();
            if held.is_ok() {
                slot_guard.leave().await;
            } else {
                let silent = matches!(held, Err(SessionError::Overdue));
                let ended = slot_guard.end().await?;
                if let (true, Err(error)) = (silent, ended.cleared) {
                    // Neither its end nor being killed ended it: that is no program's doing.
                    return Err(error);
                }
                loss = loss_between(running.memory_events_before, ended.memory_events);
            }
            let is_lost = matches!(held, Err(SessionError::Lost)) && loss == Loss::Unexplained;
            if running.was_waiting && is_lost && transcript.started.is_none() {
                // It went while it waited: the job hasn't had its attempt.
                continue;
            }

            let mut outcome = session::conclude(held, transcript, begun, loss)?;
            if let End::Seen(ended) = &mut outcome.end {
                // What the slot's group held before the container is not the program's.
                let own = |peak: u64| peak.saturating_sub(running.memory_before);
                ended.memory_peak_bytes = risen_peak.max(ended.memory_peak_bytes).map(own);
            }
            outcome.warm = warm;
            return Ok(outcome);
        }
    }

    async fn check(&self) -> Result<(), SandboxError> {
        self.shared.worker_cgroup.check()
    }

    fn description(&self) -> &Description {
        &self.description
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || WorkerCgroup::reap(&shared.hierarchy))
            .await
            .map_err(|error| SandboxError::failed("reaping control groups", error))?
            .map_err(|error| SandboxError::failed("reaping control groups", error))
    }

    async fn close(&self) {
        self.shared.zygote_pool.close();
        let slots = self.shared.lock().take();
        drop(slots);
        wait_for_cleanups(&self.shared.cleanups).await;
    }

    fn capacity(&self) -> Option<&Arc<Capacity>> {
        Some(&self.shared.capacity)
    }
}
