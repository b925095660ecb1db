//! The slots: made, taken, put back.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{
    cgroup::{Hierarchy, SlotCgroup, WorkerCgroup},
    config::NativeConfig,
    disposal::Disposal,
    launcher::Launcher,
    roots::{Root, Roots},
    slot::{ContainerSize, Machine, Programs, Slot},
    warm::ZygotePool,
    zygote::Zygote,
};
use crate::{
    host::limits::Need,
    labels::PoolEvent,
    sandbox::{
        Plan, SandboxError, capacity::Capacity, policy::Policy, processors::ProcessorPool,
        uid_pool::ReservedUser,
    },
};

/// How many slots may be idle for each job that runs at a time: a worker has twice as many slots as jobs, for each image and
/// each warm interpreter.
const IDLE_PER_SLOT: usize = 16;

/// The slots of a native sandbox, and what they are made with.
pub(super) struct SlotPool {
    pub(super) config: NativeConfig,
    pub(super) policy: Policy,
    filter: Vec<u8>,
    pub(super) worker_cgroup: WorkerCgroup,
    pub(super) hierarchy: Hierarchy,
    /// None once the sandbox is closed: a slot that is put back then is dropped.
    idle: Mutex<Option<Vec<Slot>>>,
    pub(super) zygote_pool: ZygotePool,
    pub(super) roots: Roots,
    /// How many containers may run at a time. Without root all of them would have the same user and could use
    /// up each other's kernel quotas: then it is one.
    pub(super) turns: Arc<Semaphore>,
    /// Clean-ups of containers whose jobs' futures are gone.
    pub(super) cleanups: TaskTracker,
    /// The slots that can be used, and those lost to what can't be ended.
    pub(super) capacity: Arc<Capacity>,
    pub(super) processors: Arc<ProcessorPool>,
    /// Slots that have a job.
    pub(super) leased: AtomicUsize,
    made: AtomicUsize,
}

impl SlotPool {
    pub(super) fn new(
        config: NativeConfig,
        policy: Policy,
        filter: Vec<u8>,
        hierarchy: Hierarchy,
        worker_cgroup: WorkerCgroup,
    ) -> Self {
        // The file that a copy of an interpreter runs from is the host's own, outside of every tree;
        // it takes Landlock to keep programs from it. Without root there is one slot anyway.
        let is_root = rustix::process::geteuid().is_root();
        let can_be_warm = is_root && sandfleet_agent::landlock_version().is_some();
        let warm = if can_be_warm { config.warm.clone() } else { Vec::new() };
        let observer = config.observer.clone();
        let (slots, turns) = if is_root { (config.slots, Semaphore::MAX_PERMITS) } else { (1, 1) };
        Self {
            capacity: Capacity::new(slots),
            processors: ProcessorPool::new(config.cpus),
            roots: Roots::new(config.images.as_ref()),
            config,
            zygote_pool: ZygotePool::new(warm, observer),
            policy,
            filter,
            worker_cgroup,
            hierarchy,
            idle: Mutex::new(Some(Vec::new())),
            turns: Arc::new(Semaphore::new(turns)),
            cleanups: TaskTracker::new(),
            leased: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        }
    }

    /// Makes a slot whose containers see `root`, of a copy of `zygote` if there is one.
    pub(super) async fn make(
        &self,
        zygote: Option<Arc<Zygote>>,
        root: Root,
    ) -> Result<Slot, SandboxError> {
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
        let disposal =
            Disposal { capacity: Arc::clone(&self.capacity), cleanups: self.cleanups.clone() };
        let machine = Machine {
            processors: self.processors.count(),
            cpus: self.config.cpus,
            network_settings: self.policy.network_settings(),
        };
        Slot::make(
            launcher,
            Programs { root, zygote },
            group,
            user,
            &self.filter,
            machine,
            disposal,
        )
        .await
    }

    /// A slot for the program of `plan`.
    pub(super) async fn take(&self, plan: &Plan) -> Result<Slot, SandboxError> {
        let root = self.roots.get(&plan.image)?;
        if let Some(name) = plan.warm.as_deref()
            && let Some(zygote) = self.zygote_pool.zygote(name, &root)
        {
            match self.idle(Some(&zygote), &root, plan) {
                Some(slot) => return Ok(slot),
                None => match self.make(Some(zygote.clone()), root.clone()).await {
                    Ok(slot) => return Ok(slot),
                    Err(error) => {
                        warn!(interpreter = name, %error, "a warm interpreter failed and is discarded");
                        self.zygote_pool.give_up(name, &root, &zygote);
                    }
                },
            }
        }
        match self.idle(None, &root, plan) {
            Some(slot) => Ok(slot),
            None => self.make(None, root).await,
        }
    }

    fn idle(&self, zygote: Option<&Arc<Zygote>>, root: &Root, plan: &Plan) -> Option<Slot> {
        loop {
            let slot = self.best_idle(zygote, root, ContainerSize::of(&plan.limits))?;
            if !slot.container_died() {
                return Some(slot);
            }
            self.config.observer.pool(PoolEvent::Died);
            warn!("an idle container died; its slot is discarded");
        }
    }

    fn best_idle(
        &self,
        zygote: Option<&Arc<Zygote>>,
        root: &Root,
        size: ContainerSize,
    ) -> Option<Slot> {
        let mut idle = self.lock();
        let idle = idle.as_mut()?;
        // Among equal scores the one that has been idle longest: its container is most likely ready.
        let places = (0..idle.len()).rev().filter(|place| idle[*place].is_of(zygote, root));
        let place = places.max_by_key(|place| idle[*place].match_score(size))?;
        Some(idle.remove(place))
    }

    /// Puts back a slot that another program may use.
    pub(super) fn put_back(&self, slot: Slot) {
        if let Some(idle) = &mut *self.lock() {
            idle.push(slot);
            idle.retain(|slot| !slot.is_expired() && self.roots.is_current(slot.root()));
            // Those of all images together: the one that has been idle longest goes.
            if idle.len() > self.config.slots.saturating_mul(IDLE_PER_SLOT) {
                idle.remove(0);
            }
        }
    }

    /// Takes images that were replaced, and drops idle slots of those before.
    pub(super) fn refresh_images(&self) -> Result<(), SandboxError> {
        self.roots.refresh()?;
        self.zygote_pool.retain(|root| self.roots.is_current(root));
        if let Some(idle) = &mut *self.lock() {
            idle.retain(|slot| self.roots.is_current(slot.root()));
        }
        Ok(())
    }

    /// Drops all idle slots, and from now on those that are put back.
    pub(super) fn close(&self) {
        self.zygote_pool.close();
        drop(self.lock().take());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Slot>>> {
        // The list is only pushed to and popped from: a panic elsewhere can't leave it torn.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
