//! Asks the broker and the store over and over, and outlives their absence.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use sandfleet_transport::{
    StoreError,
    records::{LiveJobs, RedisConfig, RedisStore},
};

use super::sample::{MAX_ENDED, QueueNow, Sample, WINDOW_SECONDS};
use crate::{
    app,
    causes::in_one_line,
    cli::exit::{Exit, Failure},
    config::Settings,
    exporter::{BrokerPoll, FleetQueue},
};

/// How long the store may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many jobs that have not ended are read at most.
const MAX_LIVE: usize = 100_000;
/// To read them all takes the store's time, of which this shall be a small share.
const SHARE: u32 = 20;
/// How many entries of the history are read at a time.
const PAGE: usize = 500;

/// What is asked.
pub(super) struct Poll {
    broker: BrokerPoll,
    pub(super) store: Arc<RedisStore>,
    sample: Sample,
    /// When the jobs that have not ended were read last, and how long that took.
    live: Option<(Instant, Duration)>,
}

impl Poll {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let config = RedisConfig { timeout: TIMEOUT, ..app::redis_config(settings) };
        let unusable = |error: sandfleet_transport::Error| Exit::Usage.because(error);
        Ok(Self {
            broker: BrokerPoll::new(settings).map_err(unusable)?,
            store: Arc::new(RedisStore::connect(config).map_err(unusable)?),
            sample: Sample { prefix: settings.queue.prefix.clone(), ..Sample::default() },
            live: None,
        })
    }

    /// Asks both at a time: neither waits for the other.
    pub(super) async fn sample(&mut self) -> &Sample {
        let Self { broker, store, sample, live } = self;
        let mut stored = sample.clone();
        let (queues, stored) = tokio::join!(broker.poll(), async {
            read(store, &mut stored, live).await.map(|()| stored)
        });
        match stored {
            Ok(stored) => *sample = Sample { store_trouble: None, ..stored },
            Err(error) => sample.store_trouble = Some(in_one_line(&error)),
        }
        match queues {
            Ok(queues) => {
                sample.queues = queues.into_iter().map(now_of).collect();
                sample.broker_trouble = None;
                sample.broker_is_blocked = broker.is_blocked().unwrap_or(false);
            }
            Err(why) => sample.broker_trouble = Some(why),
        }
        sample.at = Timestamp::now();
        sample
    }
}

fn now_of(queue: FleetQueue) -> QueueNow {
    let FleetQueue { name, kind, messages, consumers, serves } = queue;
    QueueNow { name, kind, messages, consumers, priority: serves.map(|serves| serves.priority) }
}

async fn read(
    store: &RedisStore,
    sample: &mut Sample,
    live: &mut Option<(Instant, Duration)>,
) -> Result<(), StoreError> {
    sample.workers = store.workers().await?;
    sample.switches = store.switches().await?;
    let is_due = live.is_none_or(|(read, took)| read.elapsed() >= took * SHARE);
    if is_due {
        let begun = Instant::now();
        let LiveJobs { jobs, is_cut } = store.live_jobs(MAX_LIVE).await?;
        (sample.live, sample.live_is_cut) = (jobs, is_cut);
        *live = Some((Instant::now(), begun.elapsed()));
    }
    let since = Timestamp::now().as_second() - WINDOW_SECONDS;
    sample.ended.clear();
    let mut before = None;
    loop {
        let page = store.history(before.as_deref(), PAGE).await?;
        let reaches_back = page.jobs.last().is_none_or(|job| job.finished_at.as_second() < since);
        sample.ended.extend(page.jobs);
        before = page.next;
        if before.is_none() || reaches_back || sample.ended.len() >= MAX_ENDED {
            break;
        }
    }
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    sample.usage = store.usage(today).await?;
    Ok(())
}
