//! `sandfleet exporter`: what no worker can tell of the fleet, for Prometheus. It works while no worker lives.

mod broker;
mod store;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use sandfleet_common::WorkerInfo;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

pub(crate) use self::broker::{BrokerPoll, FleetQueue, JobQueue};
use self::store::StorePoll;
use crate::{
    config::Settings,
    metrics::{FleetMetrics, FleetReport, QueueReport, WorkersReport},
    services::admin::{self, Token},
    shutdown::Signals,
};

/// What it logs once it listens; tests wait for it.
pub const LISTENING: &str = "exporting the fleet's metrics";

/// Polls the broker and the store, and serves what they say, until the process is told to stop.
///
/// # Errors
/// One sentence if its address, its token or a service's address is unusable. A service that is away is no error: that
/// is shown.
pub async fn export(settings: &Settings) -> Result<(), String> {
    let mut signals = Signals::listen();
    let address = settings.exporter.address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("exporter.address {address}: {error}; name another"))?;
    let token = settings.admin.token_file.as_deref().map(Token::read).transpose()?;
    let mut exporter = Exporter::new(settings)?;
    let metrics = Arc::clone(&exporter.metrics);
    let (stopping, mut stopped) = watch::channel(false);
    let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
    let hosts = settings.admin.hosts.0.clone();
    let serving = tokio::spawn(admin::serve_fleet(listener, metrics, token, hosts, stop));
    info!(%address, "{LISTENING}");
    tokio::select! {
        () = signals.next() => {}
        () = exporter.poll_regularly(Duration::from_millis(settings.exporter.interval_ms)) => {}
    }
    stopping.send_replace(true);
    serving.await.map_err(|error| error.to_string())?;
    info!("stopped");
    Ok(())
}

struct Exporter {
    broker: BrokerPoll,
    store: StorePoll,
    metrics: Arc<FleetMetrics>,
    /// When each queue was last seen empty, in Unix milliseconds.
    emptied: BTreeMap<String, i64>,
    /// What is wrong with the broker and the store, as logged.
    troubles: [Option<String>; 2],
}

/// What both services say now, as Prometheus reads it.
///
/// # Errors
/// One sentence if a service's address is unusable. A service that is away is no error: that is shown.
pub async fn look(settings: &Settings) -> Result<String, String> {
    let mut exporter = Exporter::new(settings)?;
    exporter.show().await.map_err(|error| error.to_string())?;
    exporter.metrics.render().map_err(|error| error.to_string())
}

impl Exporter {
    fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            broker: BrokerPoll::new(settings).map_err(|error| error.to_string())?,
            store: StorePoll::new(settings).map_err(|error| error.to_string())?,
            metrics: Arc::new(FleetMetrics::new().map_err(|error| error.to_string())?),
            emptied: BTreeMap::new(),
            troubles: [None, None],
        })
    }

    async fn poll_regularly(&mut self, pause: Duration) {
        let mut turns = interval(pause);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Err(error) = self.show().await {
                warn!(%error, "what was seen of the fleet can't be shown");
            }
        }
    }

    async fn show(&mut self) -> prometheus::Result<()> {
        let report = self.poll().await;
        self.metrics.show(&report, Timestamp::now().as_second())
    }

    /// Asks both services at a time: neither waits for the other.
    async fn poll(&mut self) -> FleetReport {
        let (queues, stored) = tokio::join!(self.broker.poll(), self.store.poll());
        let failures = [queues.as_ref().err(), stored.as_ref().err()];
        for ((service, failure), told) in
            ["broker", "store"].into_iter().zip(failures).zip(&mut self.troubles)
        {
            note(service, failure.map(String::as_str), told);
        }
        let (queues, stored) = (queues.ok(), stored.ok());
        let workers = stored.as_ref().map(|stored| stored.workers.as_slice());
        let taken = stored.as_ref().map(|stored| &stored.taken);
        let now = Timestamp::now().as_millisecond();
        FleetReport {
            queues: queues.map(|queues| {
                queues.iter().map(|queue| self.report(queue, taken, workers, now)).collect()
            }),
            broker_blocked: self.broker.is_blocked(),
            broker_version: self.broker.version(),
            workers: workers.map(count_workers),
            store_version: stored.as_ref().and_then(|stored| stored.version.clone()),
            store: stored.map(|stored| stored.report),
        }
    }

    fn report(
        &mut self,
        queue: &FleetQueue,
        taken: Option<&BTreeMap<String, i64>>,
        workers: Option<&[WorkerInfo]>,
        now: i64,
    ) -> QueueReport {
        let FleetQueue { name, kind, messages, consumers, serves } = queue;
        if *messages == 0 {
            self.emptied.insert(name.clone(), now);
        }
        let oldest_age_seconds = serves.as_ref().map(|_| match messages {
            0 => 0.0,
            // Jobs are taken in their order: what waits was submitted after the last that was taken.
            _ => {
                let taken = taken.and_then(|taken| taken.get(name)).copied();
                let known = taken.max(self.emptied.get(name).copied());
                let since = known.unwrap_or_else(|| {
                    // This exporter is new, and no worker ever served the queue.
                    self.emptied.insert(name.clone(), now);
                    now
                });
                (now - since).max(0) as f64 / 1000.0
            }
        });
        let serving = |JobQueue { isolation, priority }: &JobQueue| {
            let takes = |worker: &&WorkerInfo| {
                worker.ready
                    && !worker.stopping
                    && worker.isolation >= *isolation
                    && worker.priorities.contains(priority)
            };
            workers.map(|workers| workers.iter().filter(takes).count())
        };
        QueueReport {
            queue: name.clone(),
            kind,
            messages: *messages,
            consumers: *consumers,
            oldest_age_seconds,
            workers: serves.as_ref().and_then(serving),
        }
    }
}

/// Logs what is wrong with a service, once, and that it works again.
fn note(service: &str, failure: Option<&str>, told: &mut Option<String>) {
    match failure {
        Some(reason) if told.is_none() => {
            warn!(service, reason, "not answering");
            *told = Some(reason.to_owned());
        }
        Some(_) => {}
        None if told.take().is_some() => info!(service, "answers again"),
        None => {}
    }
}

/// What the live workers say of themselves. Only the slots of those that are ready can take a job.
fn count_workers(workers: &[WorkerInfo]) -> WorkersReport {
    let is_ready = |worker: &&WorkerInfo| worker.ready && !worker.stopping;
    let stopping = workers.iter().filter(|worker| worker.stopping).count();
    let ready = workers.iter().filter(is_ready).count();
    let not_ready = workers.len() - ready - stopping;
    WorkersReport {
        states: vec![("ready", ready), ("not_ready", not_ready), ("stopping", stopping)],
        slots: workers.iter().filter(is_ready).map(|worker| worker.slots).sum(),
        busy: workers.iter().filter(is_ready).map(|worker| worker.busy).sum(),
    }
}
