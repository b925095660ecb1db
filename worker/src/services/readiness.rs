//! Whether this worker can take jobs: the one place that knows, and says when that changes.

mod component;
mod components;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sandfleet_transport::Refusal;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, watch},
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

pub use self::{
    component::{Answer, Component},
    components::{BROKER, components},
};
use crate::{metrics::Metrics, shutdown::Shutdown, trouble::Trouble};

/// What a worker logs once it takes jobs, and again when it takes them again; tests wait for it.
pub const READY: &str = "ready for jobs";
/// Under what name it logs that: what a setting of log levels has to let through.
pub const LOG_TARGET: &str = module_path!();

/// How long an answer holds for those who ask, so that they can't hammer the services behind it.
const CACHE_TIME: Duration = Duration::from_secs(1);
/// How often the components are looked at while all work, and while one doesn't.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_IN_TROUBLE: Duration = Duration::from_secs(1);
/// Between two looks, whatever happens.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Watches the components that a worker can't do without.
pub struct Readiness {
    components: Vec<Component>,
    metrics: Arc<Metrics>,
    /// How long a service may refuse before the worker gives up, until it was ready once.
    patience: Duration,
    last: AsyncMutex<Option<(Instant, Report)>>,
    known: Mutex<BTreeMap<&'static str, Known>>,
    /// Whether the worker takes jobs as far as it is concerned: it has begun, and isn't stopping.
    serves: AtomicBool,
    works: watch::Sender<bool>,
    ready: watch::Sender<bool>,
    able: watch::Sender<bool>,
    refused: watch::Sender<Option<(Refusal, String)>>,
    changed: Arc<Notify>,
}

/// What each component said.
pub type Report = Arc<[(&'static str, Answer)]>;

/// What is known of a component, and was logged.
#[derive(Default)]
struct Known {
    /// The trouble that was logged last, and what kind of refusal it was.
    told: Option<Option<Refusal>>,
    /// Since when it refuses in the same way.
    refused_since: Option<(Refusal, Instant)>,
}

impl Readiness {
    /// Watches `components`. Who notices a change notifies `changed`; `able` tells whether all but the broker
    /// work. Until the worker was ready once, a service may refuse it for `patience`.
    pub fn new(
        components: Vec<Component>,
        metrics: Arc<Metrics>,
        patience: Duration,
        (changed, able): (Arc<Notify>, watch::Sender<bool>),
    ) -> Self {
        Self {
            components,
            metrics,
            patience,
            last: AsyncMutex::default(),
            known: Mutex::default(),
            serves: AtomicBool::new(false),
            works: watch::Sender::new(false),
            ready: watch::Sender::new(false),
            able,
            refused: watch::Sender::default(),
            changed,
        }
    }

    /// Looks at the components regularly, and at once when one has changed, until the worker stops.
    pub async fn watch(self: Arc<Self>, shutdown: Shutdown) {
        let stop = async {
            shutdown.drained().await;
            self.serves.store(false, Ordering::SeqCst);
            self.metrics.set_ready(false);
            self.ready.send_replace(false);
            shutdown.aborted().await;
        };
        let watch = async {
            loop {
                let report = self.look(Duration::ZERO).await;
                let works = report.iter().all(|(_, answer)| answer.is_ok());
                sleep(SHORTEST_PAUSE).await;
                tokio::select! {
                    () = sleep(if works { PAUSE } else { PAUSE_IN_TROUBLE.min(self.patience) }) => {}
                    () = self.changed.notified() => {}
                }
            }
        };
        tokio::select! {
            () = stop => {}
            () = watch => {}
        }
    }

    /// Counts the worker as ready from now on, whenever its components work.
    pub async fn serve(&self) {
        self.serves.store(true, Ordering::SeqCst);
        self.look(Duration::ZERO).await;
    }

    /// What each component said, at most a second ago.
    pub async fn report(&self) -> Report {
        self.look(CACHE_TIME).await
    }

    /// Whether the worker takes jobs, by what its components said.
    pub fn is_ready(&self, report: &Report) -> bool {
        self.serves.load(Ordering::SeqCst) && report.iter().all(|(_, answer)| answer.is_ok())
    }

    /// Whether the worker takes jobs.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// One that counts as ready whenever `components` work.
    #[cfg(test)]
    pub(crate) fn serving(components: Vec<Component>, metrics: Arc<Metrics>) -> Self {
        let channels = (Arc::default(), watch::Sender::new(false));
        let readiness = Self::new(components, metrics, Duration::from_secs(60), channels);
        readiness.serves.store(true, Ordering::SeqCst);
        readiness
    }

    /// Waits until all components work, as seen by [`watch`](Self::watch).
    pub async fn works(&self) {
        // The sender is part of self, so that the channel can't be closed.
        let _ = self.works.subscribe().wait_for(|works| *works).await;
    }

    /// Waits until a service has refused the worker for too long; tells how, and what to do.
    pub async fn refused(&self) -> (Refusal, String) {
        let mut refused = self.refused.subscribe();
        // The sender is part of self, so that the channel can't be closed.
        match refused.wait_for(Option::is_some).await.ok().and_then(|refused| refused.clone()) {
            Some(refused) => refused,
            None => std::future::pending().await,
        }
    }

    async fn look(&self, cached_for: Duration) -> Report {
        // Held over the checks: others who ask meanwhile wait for these checks instead of starting more.
        let mut last = self.last.lock().await;
        if let Some((when, report)) = &*last
            && when.elapsed() < cached_for
        {
            return Arc::clone(report);
        }
        let answers = join_all(self.components.iter().map(Component::check)).await;
        let names = self.components.iter().map(Component::name);
        let report: Report = names.zip(answers).collect();
        self.note(&report);
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }

    /// Logs what has changed, and tells all that depend on it.
    fn note(&self, report: &Report) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (component, (name, answer)) in self.components.iter().zip(report.iter()) {
            self.metrics.set_up(name, answer.is_ok());
            let known = known.entry(name).or_default();
            match answer {
                Ok(_) => {
                    known.refused_since = None;
                    if known.told.take().is_some() {
                        info!(component = name, "works again");
                    }
                }
                Err(_) if component.logs() => {}
                Err(trouble) => self.note_trouble(name, trouble, known),
            }
        }
        let is_able = report.iter().all(|(name, answer)| *name == BROKER || answer.is_ok());
        self.able.send_if_modified(|able| std::mem::replace(able, is_able) != is_able);
        self.works.send_replace(report.iter().all(|(_, answer)| answer.is_ok()));
        let is_ready = self.is_ready(report);
        self.metrics.set_ready(is_ready);
        if self.ready.send_if_modified(|ready| std::mem::replace(ready, is_ready) != is_ready)
            && is_ready
        {
            info!("{READY}");
        }
    }

    fn note_trouble(&self, name: &'static str, trouble: &Trouble, known: &mut Known) {
        let Trouble { reason, refusal, is_passing } = trouble;
        if *is_passing {
            return;
        }
        // The same answer in other words is no news.
        match known.told {
            Some(told) if told == *refusal || refusal.is_none() => {
                debug!(component = name, reason, "still not ready");
            }
            _ => {
                warn!(component = name, reason, "not ready");
                known.told = Some(*refusal);
            }
        }
        let now = Instant::now();
        known.refused_since = match (known.refused_since, refusal) {
            (Some((before, since)), Some(refusal)) if before == *refusal => Some((before, since)),
            (_, refusal) => refusal.map(|refusal| (refusal, now)),
        };
        let Some((refusal, since)) = known.refused_since else { return };
        let started = self.serves.load(Ordering::SeqCst);
        if !started && now.duration_since(since) >= self.patience {
            self.refused.send_if_modified(|refused| {
                let is_first = refused.is_none();
                refused.get_or_insert_with(|| (refusal, reason.clone()));
                is_first
            });
        }
    }
}
