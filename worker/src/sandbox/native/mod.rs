//! The native sandbox: containers made of the kernel's own parts, without any daemon.
//!
//! The worker keeps a slot (`slot.rs`) per job that may run at a time. A slot is a small process, the
//! launcher, in a control group of its own; it forks each container into fresh namespaces. See
//! `sandfleet_agent::launcher` for the other side.

mod cgroup;
mod channel;
mod config;
mod disposal;
mod filter;
mod launcher;
mod roots;
mod slot;
mod slot_guard;
mod slots;
mod warm;
mod zygote;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use sandfleet_common::Isolation;
use tracing::warn;

pub use self::config::NativeConfig;

use self::{
    cgroup::{Hierarchy, MemoryEvents, WorkerCgroup},
    roots::Root,
    slot_guard::SlotGuard,
    slots::SlotPool,
};
use crate::labels::PoolEvent;

use super::{
    Description, LiveInput, Outcome, Plan, RootTree, Sandbox, SandboxError, Watcher,
    capacity::Capacity,
    policy::Policy,
    session::{self, Ending, Loss, SessionContext, SessionError, Transcript, Transport},
    wait_for_cleanups,
};

/// The barrier that is the host's alone to give.
pub(crate) use cgroup::BARRIER as CGROUPS;

/// Which control groups this process can use.
///
/// # Errors
/// Names what is missing and the ways out.
pub(crate) fn describe_cgroups(config: &NativeConfig) -> Result<String, SandboxError> {
    let hierarchy = Hierarchy::find(&config.cgroup_parent)?;
    let version = hierarchy.version();
    drop(WorkerCgroup::claim(hierarchy, &config.observer)?);
    Ok(format!("version {version}: memory, pids, cpu"))
}

/// Runs programs in containers of its own making.
pub struct NativeSandbox {
    slots: Arc<SlotPool>,
    description: Description,
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
        let worker_cgroup = WorkerCgroup::claim(hierarchy.clone(), &config.observer)?;
        let description = Description {
            backend: "native",
            runtime: "sandfleet".into(),
            isolation: Isolation::Container,
            image: "host:/usr".into(),
            image_digest: None,
            policy_hash: policy.hash(),
        };
        let slots = SlotPool::new(config, policy, filter, hierarchy, worker_cgroup);
        let sandbox = Self { slots: Arc::new(slots), description };
        let first = sandbox.slots.make(None, None).await?;
        sandbox.slots.put_back(first);
        Ok(sandbox)
    }
}

impl NativeSandbox {
    fn root_tree_of(&self, root: &Root) -> RootTree {
        match root {
            Some(tree) => {
                RootTree { image: tree.facts.name.clone(), digest: Some(tree.facts.digest.clone()) }
            }
            None => self.description.root_tree(),
        }
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
            overhead_bytes: _,    // SlotCgroup
            network_settings: _,  // the launch command
            socket_bytes: _,      // Policy::bounds
            mappings: _,          // Policy::bounds
            record_locks: _,      // Policy::bounds
        } => Ok(()),
        _ => Err(SandboxError::failed(
            "lowering the policy",
            "the native sandbox can't be made weaker",
        )),
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

/// The kernel alone is between a container and the worker.
struct Kernel;

#[async_trait]
impl Transport for Kernel {
    async fn ping(&self) -> Result<(), SandboxError> {
        Ok(())
    }
}

impl NativeSandbox {
    /// Runs a program, which may read what comes while it runs.
    async fn serve(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: Option<&LiveInput>,
    ) -> Result<Outcome, SandboxError> {
        let begun = Instant::now();
        let (slots, policy) = (&self.slots, &self.slots.policy);
        loop {
            let _place = match input {
                // Of two programs that wait for each other neither may wait for a place.
                Some(_) => slots.capacity.hold(),
                None => slots.capacity.enter().await?,
            };
            let turn = Arc::clone(&slots.turns).acquire_owned().await.ok();
            let mut slot_guard = SlotGuard::take(slots, plan, turn).await?;
            let warm = slot_guard.slot()?.is_warm();
            let root = self.root_tree_of(slot_guard.slot()?.root());
            let mut running = slot_guard.slot()?.launch(&plan.limits, policy).await?;
            let observer = &slots.config.observer;
            observer.pool(if running.was_waiting { PoolEvent::Hit } else { PoolEvent::Miss });

            let mut transcript = Transcript::default();
            let (from, to) = running.stream.split();
            let isolation = self.description.isolation;
            let cpus = slots.config.cpus;
            let processors = slots.processors.take();
            let context = SessionContext {
                plan,
                policy,
                isolation,
                cpus,
                processors: processors.places(),
                watcher,
                transport: &Kernel,
                input,
            };
            let held = session::run(from, to, &context, &mut transcript).await;
            drop(running.stream);
            let mut loss = Loss::Unexplained;
            let memory_peak = slot_guard.slot()?.risen_peak();
            if held.is_ok() {
                slot_guard.leave().await;
            } else {
                let silent = matches!(held, Err(SessionError::Overdue));
                let ended = slot_guard.end().await?;
                if let (true, Err(error)) = (silent, ended.cleared) {
                    // It outlived SIGKILL, which no program can do.
                    return Err(error);
                }
                loss = loss_between(running.memory_events_before, ended.memory_events);
            }
            let is_lost = matches!(held, Err(SessionError::Lost)) && loss == Loss::Unexplained;
            // Its input may have gone with it.
            let may_repeat = transcript.started.is_none() && input.is_none();
            if running.was_waiting && is_lost && may_repeat {
                // It went while it waited: the job hasn't had its attempt.
                observer.pool(PoolEvent::Died);
                continue;
            }

            let memory_before = running.memory_before;
            let ending = Ending { begun, loss, warm, memory_before, memory_peak };
            let outcome = session::conclude(held, transcript, ending)?;
            return Ok(Outcome { root, ..outcome });
        }
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    async fn run(&self, plan: &Plan, watcher: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        self.serve(plan, watcher, None).await
    }

    async fn run_live(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        input: &LiveInput,
    ) -> Result<Outcome, SandboxError> {
        if self.slots.turns.available_permits() <= 1 && !rustix::process::geteuid().is_root() {
            let why = "two programs at a time would have one user; run sandfleet as root";
            return Err(SandboxError::failed("running an interactive program", why));
        }
        self.serve(plan, watcher, Some(input)).await
    }

    async fn check(&self) -> Result<(), SandboxError> {
        self.slots.refresh_images()?;
        self.slots.worker_cgroup.check()
    }

    fn root_tree(&self, image: &str) -> Option<RootTree> {
        match self.slots.roots.get(image) {
            Ok(root) => Some(self.root_tree_of(&root)),
            Err(error) => {
                warn!(image, %error, "programs of this image are not run");
                None
            }
        }
    }

    fn description(&self) -> &Description {
        &self.description
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        let slots = Arc::clone(&self.slots);
        tokio::task::spawn_blocking(move || WorkerCgroup::reap(&slots.hierarchy))
            .await
            .map_err(|error| SandboxError::failed("reaping control groups", error))?
            .map_err(|error| SandboxError::failed("reaping control groups", error))
    }

    async fn close(&self) {
        self.slots.close();
        wait_for_cleanups(&self.slots.cleanups).await;
    }

    fn capacity(&self) -> Option<&Arc<Capacity>> {
        Some(&self.slots.capacity)
    }
}
