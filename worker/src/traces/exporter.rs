//! Sends spans to a collector, beside the path of jobs: what it doesn't take in time is dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sandfleet_common::TraceContext;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    collector::{Collector, Refused},
    encoding,
    span::{Span, SpanSender, Value},
    timeline::Tracer,
};
use crate::{hooks::Observer, labels::SpanEnd, pauses::Pauses};

/// The spans of how many jobs wait at most, and of how many go into a request.
const BACKLOG: usize = 1024;
const BATCH: usize = 128;
/// How long a request may wait for more jobs.
const GATHER: Duration = Duration::from_millis(500);
/// How long a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses while it takes nothing.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a process that ends waits for the collector to take what is left.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How often it is reported what was dropped.
const REPORT: Duration = Duration::from_secs(1);

/// What is exported, and where to.
#[derive(Debug, Clone)]
pub struct ExporterConfig {
    /// Where to.
    pub collector: Collector,
    /// What the spans say of this process.
    pub resource: Vec<(&'static str, Value)>,
    /// Which share of the traces that begin here is sampled, from 0.0 to 1.0.
    pub ratio: f64,
    /// What jobs are children of whose message names nothing.
    pub parent: Option<TraceContext>,
}

/// The task that sends spans.
pub struct Exporter {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Exporter {
    /// Starts to export. Call it within a tokio runtime.
    pub fn start(config: ExporterConfig, observer: Observer) -> (Tracer, Self) {
        let (sender, jobs) = mpsc::channel(BACKLOG);
        let sender = SpanSender { jobs: sender, dropped: Arc::default() };
        let (stop, stopped) = watch::channel(false);
        let dropped = Arc::clone(&sender.dropped);
        let tracer = Tracer::new(sender, config.ratio, config.parent.clone());
        let sending = Sending { config, jobs, batch: Vec::new(), observer, dropped, stopped };
        (tracer, Self { task: tokio::spawn(sending.run()), stop })
    }

    /// Ends, after one more try to send what is left, for a second at most.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            warn!(%error, "the export of spans ended abnormally");
        }
    }
}

struct Sending {
    config: ExporterConfig,
    jobs: mpsc::Receiver<Vec<Span>>,
    /// What is being sent, by job.
    batch: Vec<Vec<Span>>,
    observer: Observer,
    dropped: Arc<AtomicU64>,
    stopped: watch::Receiver<bool>,
}

impl Sending {
    async fn run(mut self) {
        let (dropped, observer) = (Arc::clone(&self.dropped), self.observer.clone());
        let report = || match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            spans => observer.spans(SpanEnd::Dropped, spans),
        };
        let mut stopped = self.stopped.clone();
        tokio::select! {
            () = self.send_all() => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = async {
                loop {
                    sleep(REPORT).await;
                    report();
                }
            } => {}
        }
        self.send_rest().await;
        report();
    }

    /// Sends what comes. A batch that the collector may take later is kept until it does, and what comes meanwhile waits as
    /// far as there is room.
    async fn send_all(&mut self) {
        let fresh = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        let (mut pauses, mut is_broken) = (fresh, false);
        loop {
            if self.batch.is_empty() {
                if self.jobs.recv_many(&mut self.batch, BATCH).await == 0 {
                    return;
                }
                sleep(GATHER).await;
                self.gather(BATCH);
            }
            let refused = match self.send().await {
                Ok(()) => {
                    if std::mem::take(&mut is_broken) {
                        info!("the collector takes spans again");
                    }
                    pauses = fresh;
                    continue;
                }
                Err(refused) => refused,
            };
            // Once: the metrics tell how many are lost.
            if !std::mem::replace(&mut is_broken, true) {
                warn!(error = %refused, "the collector of tracing.endpoint takes no spans; traces have gaps until it does");
            }
            if !refused.is_passing {
                self.count(SpanEnd::Rejected, self.spans());
                self.batch.clear();
            }
            sleep(pauses.next()).await;
        }
    }

    /// Sends what is left, in one request.
    async fn send_rest(&mut self) {
        self.jobs.close();
        self.gather(usize::MAX);
        if self.batch.is_empty() {
            return;
        }
        if !matches!(timeout(LAST_WORD, self.send()).await, Ok(Ok(()))) {
            self.count(SpanEnd::Dropped, self.spans());
        }
    }

    fn gather(&mut self, most: usize) {
        while self.batch.len() < most
            && let Ok(job) = self.jobs.try_recv()
        {
            self.batch.push(job);
        }
    }

    fn spans(&self) -> u64 {
        self.batch.iter().map(|job| job.len() as u64).sum()
    }

    fn count(&self, end: SpanEnd, spans: u64) {
        self.observer.spans(end, spans);
    }

    /// Sends the batch, which is empty afterwards if the collector took it.
    async fn send(&mut self) -> Result<(), Refused> {
        let request = encoding::encode(&self.config.resource, self.batch.iter().flatten());
        let posted = timeout(TIMEOUT, self.config.collector.post(request)).await;
        let no_answer = |_| Refused::passing(format!("no answer within {} s", TIMEOUT.as_secs()));
        let answer = posted.map_err(no_answer)??;
        let rejected = encoding::rejected(&answer).min(self.spans());
        self.count(SpanEnd::Exported, self.spans() - rejected);
        if rejected > 0 {
            self.count(SpanEnd::Rejected, rejected);
        }
        self.batch.clear();
        Ok(())
    }
}
