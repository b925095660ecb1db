//! Containers that were started ahead: their agent runs, has found its barriers and waits for a
//! run request. Each serves one job, like any other container, and is removed; only its start isn't
//! waited for.
//!
//! A container keeps the limits that it was started with, so only a job with the same [`ContainerKey`] can use it.

mod demand;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use sandfleet_agent::protocol::message::Hello;
use tokio::{io::AsyncReadExt, sync::Notify, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use self::demand::Demand;
use super::{
    container::Running,
    engine::{Engine, LONGEST_WAIT},
    request::DEADLINE,
    spec::ContainerKey,
};
use crate::{
    hooks::Observer,
    labels::PoolEvent,
    sandbox::{SandboxError, session},
};

/// How many are made at a time besides those that jobs wait for.
const MAKERS: usize = 2;

/// How often it is looked whether all that wait are alive and wanted.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A container whose agent waits for its run request.
pub(super) struct Waiting {
    pub(super) running: Running,
    pub(super) hello: Hello,
    key: ContainerKey,
    since: Instant,
}

impl Waiting {
    /// Whether it can be given to a job. Its agent has nothing to say until it has its run request: what
    /// comes from it now is the stream's end.
    fn is_good(&mut self) -> bool {
        let is_silent = self.running.from.read_u8().now_or_never().is_none();
        is_silent && self.since.elapsed() < LONGEST_WAIT
    }
}

/// The containers that wait.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Ends the makers, at the latest with this.
    makers: CancellationToken,
    _guard: DropGuard,
}

struct Shared {
    size: usize,
    engine: Arc<Engine>,
    state: Mutex<PoolState>,
    wake: Notify,
}

struct PoolState {
    demand: Demand,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// What is being made.
    making: Vec<ContainerKey>,
    /// How often something has failed: what was begun before the last time counts for nothing.
    failures: u64,
    /// Whether a container that was made for its job has served it since.
    is_trusted: bool,
}

impl Pool {
    /// A pool of at most `size` containers.
    pub(super) fn new(engine: Arc<Engine>, size: usize) -> Self {
        let state = PoolState {
            demand: Demand::new(size),
            waiting: VecDeque::new(),
            making: Vec::new(),
            failures: 0,
            is_trusted: false,
        };
        let shared =
            Arc::new(Shared { size, engine, state: Mutex::new(state), wake: Notify::new() });
        let stop = CancellationToken::new();
        for _ in 0..MAKERS.min(size) {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            let tasks = shared.engine.removals.tasks.clone();
            tasks.spawn(async move { shared.fill(&stop).await });
        }
        Self { shared, makers: stop.clone(), _guard: stop.drop_guard() }
    }

    /// One that has been waiting for a job of this shape, if there is one.
    pub(super) fn take(&self, key: &ContainerKey) -> Option<Waiting> {
        if self.shared.size == 0 {
            return None;
        }
        let mut state = self.shared.state();
        state.demand.note(key, Instant::now());
        // Before anything is found: the lock is held until the end anyway.
        self.shared.wake.notify_one();
        while let Some(at) = state.waiting.iter().position(|waiting| waiting.key == *key) {
            let mut taken = state.waiting.remove(at)?;
            if taken.is_good() {
                return Some(taken);
            }
            self.shared.observer().pool(PoolEvent::Died);
        }
        None
    }

    /// How often something has failed so far.
    pub(super) fn failures(&self) -> u64 {
        self.shared.state().failures
    }

    /// A container that was made for its job has served it, which began after so many failures: if
    /// there were no more, containers may be made ahead.
    pub(super) fn trust(&self, failures: u64) {
        let mut state = self.shared.state();
        state.is_trusted |= state.failures == failures;
    }

    /// Something has failed. Containers made before that are discarded, and nothing is made ahead
    /// until a container that is made for its job has served it.
    pub(super) fn distrust(&self) {
        self.shared.distrust();
    }

    /// Makes nothing more, and removes all that waits.
    pub(super) fn close(&self) {
        self.makers.cancel();
        self.distrust();
    }
}

impl Shared {
    fn observer(&self) -> &Observer {
        &self.engine.config.observer
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn distrust(&self) {
        let mut state = self.state();
        state.is_trusted = false;
        state.failures += 1;
        state.making.clear();
        state.waiting.clear();
    }

    /// Makes what is missing, one after the other. What was begun is brought to its end: an engine
    /// goes on making a container when the request is cancelled.
    async fn fill(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Some((failures, key)) = self.next() else {
                let look = timeout(LOOK_INTERVAL, self.wake.notified());
                let _ = stop.run_until_cancelled(look).await;
                continue;
            };
            match self.make(key).await {
                Ok(made) => self.put(failures, made),
                Err(error) => {
                    self.observer().pool(PoolEvent::Died);
                    warn!(%error, "no container can be started ahead; the next job starts its own");
                    self.distrust();
                }
            }
        }
    }

    /// What is to be made next, and after how many failures; removes containers that can't or needn't be used.
    fn next(&self) -> Option<(u64, ContainerKey)> {
        let mut state = self.state();
        let PoolState { demand, waiting, making, failures, is_trusted } = &mut *state;
        if !*is_trusted {
            return None;
        }
        let targets = demand.targets(Instant::now());
        let target = |key: &ContainerKey| {
            targets.iter().find(|(it, _)| it == key).map_or(0, |(_, count)| *count)
        };
        let mut kept: Vec<ContainerKey> = Vec::new();
        let count =
            |kept: &[ContainerKey], key: &ContainerKey| kept.iter().filter(|it| *it == key).count();
        // From behind: the youngest are kept.
        for at in (0..waiting.len()).rev() {
            let key = waiting[at].key.clone();
            if waiting[at].is_good() && count(&kept, &key) < target(&key) {
                kept.push(key);
            } else {
                waiting.remove(at);
            }
        }
        kept.extend(making.iter().cloned());
        if kept.len() >= self.size {
            return None;
        }
        let missing = targets.iter().find(|(key, target)| count(&kept, key) < *target);
        let (key, _) = missing?;
        making.push(key.clone());
        Some((*failures, key.clone()))
    }

    async fn make(&self, key: ContainerKey) -> Result<Waiting, SandboxError> {
        let mut running = self.engine.start(&key).await?;
        let greeted = session::handshake(&mut running.from, (Instant::now() + DEADLINE).into());
        let hello =
            greeted.await.map_err(|error| SandboxError::failed("greeting a container", error))?;
        debug!(container = running.container.id(), "a container waits for a job");
        Ok(Waiting { running, hello, key, since: Instant::now() })
    }

    /// Puts what was made where jobs find it, unless something has failed meanwhile.
    fn put(&self, failures: u64, made: Waiting) {
        let mut state = self.state();
        if state.failures == failures {
            let begun = state.making.iter().position(|key| *key == made.key);
            begun.map(|at| state.making.swap_remove(at));
            state.waiting.push_back(made);
            self.observer().pool(PoolEvent::Made);
        }
    }
}
