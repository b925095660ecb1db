//! The queues of one worker, and how the next job is had from them.
//!
//! A poller asks its queue for jobs (`basic.get`), for several at a time while there are some: each
//! question takes the broker a few milliseconds. If all are empty, every poller opens a *subscription*: a
//! consumer with a prefetch of one, so that the next job is sent at once. A subscription that was given a job
//! is cancelled before anything else is asked, because settling that job would bring the next one; and all
//! are cancelled once the worker has no free slot, because a job that is delivered to a busy worker is
//! kept from an idle one.
//!
//! Most of the tenants' queues are empty most of the time, and asking each of them before every job would
//! cost more than the job. So a poller of theirs whose queue was empty for a while is *idle*: the worker
//! probes the lengths of all idle ones at once, a few times a second, and subscribes to them only when
//! it has had no job for a moment.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all, select_all},
};
use lapin::{
    message::Delivery,
    options::{
        BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use sandfleet_transport::{Broker, Error};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{hooks::Observer, labels::Call};

use super::{
    config::AmqpConfig,
    failure::Failure,
    gate::Gate,
    observed::Observed,
    poller::{Poller, Source, Subscription},
    scheduler::Scheduler,
    session::{MAX_GETTERS, Session},
};

/// How long a worker is without a job before it subscribes to idle queues too.
const IDLE: Duration = Duration::from_millis(100);
/// How often idle pollers are probed: less and less often while their queues stay empty.
const SHORTEST_PROBE_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PROBE_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Pollers<'a> {
    broker: &'a Broker,
    observer: &'a Observer,
    session: &'a Session,
    pollers: Vec<Poller>,
    scheduler: Scheduler,
    /// The queues that are left alone.
    stuck: watch::Receiver<BTreeSet<String>>,
    /// When the last job was had.
    busy_at: Instant,
    probe_at: Instant,
    probe_pause: Duration,
    /// A probe of the idle pollers that is under way.
    probing: Option<BoxFuture<'a, Result<Vec<usize>, Failure>>>,
}

/// A delivery, and where it came from.
pub(super) type Taken = (Delivery, Arc<Source>);

impl<'a> Pollers<'a> {
    /// The pollers of `session`, without a subscription yet.
    pub(super) async fn open(
        broker: &'a Broker,
        session: &'a Session,
        config: &AmqpConfig,
        observed: &'a Observed,
        stuck: watch::Receiver<BTreeSet<String>>,
    ) -> Result<Self, Error> {
        // For each consumer that follows. Quorum queues know no limit for a whole channel.
        let prefetch = session.channel.basic_qos(1, BasicQosOptions { global: false });
        broker.with_timeout("limit the prefetch", prefetch).await?;
        let (mut pollers, mut priorities) = (Vec::new(), Vec::new());
        for (priority, queue, tenants) in config.queues() {
            let taken_until = observed.taken_until(&queue);
            pollers.push(Poller::to(queue, tenants, taken_until));
            priorities.push(priority);
        }
        let now = Instant::now();
        let mut pollers = Self {
            broker,
            observer: &observed.observer,
            session,
            pollers,
            scheduler: Scheduler::new(priorities),
            stuck,
            busy_at: now,
            probe_at: now,
            probe_pause: SHORTEST_PROBE_PAUSE,
            probing: None,
        };
        pollers.exclude_stuck();
        Ok(pollers)
    }

    /// Leaves those alone that are stuck now, and no others.
    fn exclude_stuck(&mut self) {
        let stuck = self.stuck.borrow_and_update();
        for poller in &mut self.pollers {
            poller.stuck = stuck.contains(&poller.source.queue);
        }
    }

    /// The next jobs, `most` of them at most and one at least, waiting for it if there is none.
    /// None once the worker was stopped or the gate is closed.
    pub(super) async fn next(
        &mut self,
        most: usize,
        stopped: &mut watch::Receiver<bool>,
        gate: &Gate,
    ) -> Result<Vec<Taken>, Failure> {
        self.unsubscribe(|poller, now| {
            matches!(poller.subscription, Subscription::Delivered(_))
                || poller.backs_off_until(now).is_some()
        })
        .await?;
        loop {
            if self.stuck.has_changed().unwrap_or(false) {
                self.exclude_stuck();
            }
            self.probe_depths()?;
            let now = Instant::now();
            for (index, share) in self.scheduler.order(|index| self.pollers[index].is_asked(now)) {
                let deliveries = self.take(index, share.min(most)).await?;
                if !deliveries.is_empty() {
                    deliveries.iter().for_each(|_| self.scheduler.took(index));
                    let poller = &mut self.pollers[index];
                    self.busy_at = Instant::now();
                    poller.mark_active(self.busy_at);
                    let source = || poller.source.clone();
                    return Ok(deliveries.into_iter().map(|given| (given, source())).collect());
                }
            }
            // A new subscription may have been given something already, so each is asked once more.
            if !self.subscribe_all().await? && !self.given(stopped, gate).await? {
                return Ok(Vec::new());
            }
        }
    }

    /// Opens the subscriptions that are worth it, which shows that jobs can be had.
    pub(super) async fn subscribe(&mut self) -> Result<(), Failure> {
        self.subscribe_all().await.map(drop)
    }

    /// Cancels all subscriptions. What they were given meanwhile is [`held`](Self::held).
    pub(super) async fn unsubscribe_all(&mut self) -> Result<(), Failure> {
        self.unsubscribe(|_, _| true).await
    }

    /// What is held and was not taken.
    pub(super) fn held(&mut self) -> Vec<Taken> {
        let held = |poller: &mut Poller| Some((poller.held.take()?, poller.source.clone()));
        self.pollers.iter_mut().filter_map(held).collect()
    }

    /// Jobs from this poller, `most` of them at most, if there are any now.
    async fn take(&mut self, index: usize, most: usize) -> Result<Vec<Delivery>, Failure> {
        let poller = &mut self.pollers[index];
        let queue = poller.source.queue.as_str();
        if let Some(delivery) = poller.held.take() {
            return Ok(vec![delivery]);
        }
        if let Subscription::Open(consumer) = &mut poller.subscription {
            // A subscription that was given nothing means an empty queue, without asking.
            let Some(given) = consumer.next().now_or_never() else { return Ok(Vec::new()) };
            let delivery = delivered(self.broker, queue, given)?;
            poller.subscription = Subscription::Delivered(consumer.clone());
            return Ok(vec![delivery]);
        }
        let count = most.min(poller.questions);
        let answers = join_all(self.session.getters.iter().take(count).map(|getter| {
            let get = getter.basic_get(queue.into(), BasicGetOptions::default());
            self.observer.timed(Call::Get, answer(self.broker, "ask", queue, get))
        }))
        .await;
        let mut deliveries = Vec::with_capacity(count);
        for answer in answers {
            deliveries.extend(answer?.map(|message| message.delivery));
        }
        let all_hit = deliveries.len() >= count;
        poller.questions = if all_hit { (poller.questions * 2).min(MAX_GETTERS) } else { 1 };
        Ok(deliveries)
    }

    /// Finds out which of the idle pollers have jobs, if it is time to, and doesn't wait for the
    /// answers: empty queues must not delay a job.
    fn probe_depths(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.probing.is_none() && now >= self.probe_at {
            let idle_pollers =
                self.pollers.iter().enumerate().filter(|(_, poller)| poller.is_idle(now));
            let idle_pollers: Vec<_> =
                idle_pollers.map(|(index, poller)| (index, poller.source.clone())).collect();
            self.probing = Some(filled(self.broker, self.session, idle_pollers).boxed());
        }
        let answers = self.probing.as_mut().and_then(|probing| probing.now_or_never());
        if let Some(filled) = answers {
            self.found(filled?);
        }
        Ok(())
    }

    /// These pollers have jobs.
    fn found(&mut self, filled: Vec<usize>) {
        let now = Instant::now();
        self.probing = None;
        self.probe_pause = match filled.is_empty() {
            true => (self.probe_pause * 2).min(LONGEST_PROBE_PAUSE),
            false => SHORTEST_PROBE_PAUSE,
        };
        self.probe_at = now + self.probe_pause;
        filled.into_iter().for_each(|index| self.pollers[index].mark_active(now));
    }

    /// Opens the subscriptions that are worth it, and says whether there were any.
    async fn subscribe_all(&mut self) -> Result<bool, Failure> {
        let now = Instant::now();
        let idle = self.busy_at + IDLE <= now;
        let empty = self.pollers.iter_mut().filter(|poller| {
            let worth_it = idle || poller.is_active(now);
            matches!(poller.subscription, Subscription::None) && poller.is_served(now) && worth_it
        });
        let subscribed = join_all(empty.map(async |poller| {
            let queue = poller.source.queue.as_str();
            let consume = self.session.channel.basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            poller.subscription =
                Subscription::Open(answer(self.broker, "consume from", queue, consume).await?);
            Ok::<_, Failure>(())
        }))
        .await;
        let count = subscribed.len();
        first_failure(subscribed)?;
        Ok(count > 0)
    }

    async fn unsubscribe(
        &mut self,
        which: impl Fn(&Poller, Instant) -> bool,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let out = self.pollers.iter_mut().filter(|poller| which(poller, now));
        let unsubscribed = join_all(out.map(async |poller| {
            let mut consumer = match std::mem::replace(&mut poller.subscription, Subscription::None)
            {
                Subscription::None => return Ok(()),
                Subscription::Open(consumer) | Subscription::Delivered(consumer) => consumer,
            };
            let queue = poller.source.queue.as_str();
            // With the broker's word for it: a delivery that crosses an unconfirmed cancel finds no
            // consumer, is dropped by the library, and stays unsettled for ever.
            let cancel = BasicCancelOptions { nowait: false };
            let cancel = self.session.channel.basic_cancel(consumer.tag(), cancel);
            answer(self.broker, "stop consuming from", queue, cancel).await?;
            while let Some(given) = consumer.next().await {
                poller.held = Some(delivered(self.broker, queue, Some(given))?);
            }
            Ok(())
        }))
        .await;
        first_failure(unsubscribed).map(drop)
    }

    /// Waits until a subscription is given a job, and holds that, or until there is something else to do.
    /// `false` once the worker was stopped or the gate is closed.
    async fn given(
        &mut self,
        stopped: &mut watch::Receiver<bool>,
        gate: &Gate,
    ) -> Result<bool, Failure> {
        let now = Instant::now();
        let backed_off = self.pollers.iter().filter_map(|poller| poller.backs_off_until(now)).min();
        let looks = self.probing.is_none() && self.pollers.iter().any(|poller| poller.is_idle(now));
        let look = looks.then_some(self.probe_at.min(self.busy_at + IDLE));
        let until = [backed_off, look].into_iter().flatten().min();
        let subscriptions = self.pollers.iter_mut().enumerate().filter_map(|(index, poller)| {
            let Subscription::Open(consumer) = &mut poller.subscription else { return None };
            Some(consumer.next().map(move |given| (index, given)).boxed())
        });
        let subscriptions: Vec<_> = subscriptions.collect();
        let given = async {
            // All may be backing off, and then there is no subscription.
            if subscriptions.is_empty() {
                std::future::pending().await
            } else {
                select_all(subscriptions).await.0
            }
        };
        let probing = async {
            match &mut self.probing {
                Some(probing) => probing.await,
                None => std::future::pending().await,
            }
        };
        let (index, given) = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(false),
            () = gate.becomes(false) => return Ok(false),
            () = alarm(until) => return Ok(true),
            _ = self.stuck.changed() => {
                self.exclude_stuck();
                return Ok(true);
            }
            filled = probing => {
                self.found(filled?);
                return Ok(true);
            }
            given = given => given,
        };
        let poller = &mut self.pollers[index];
        poller.held = Some(delivered(self.broker, &poller.source.queue, given)?);
        if let Subscription::Open(consumer) = &poller.subscription {
            poller.subscription = Subscription::Delivered(consumer.clone());
        }
        Ok(true)
    }
}

/// Awaits what `queue` answers to being asked what `action` says.
async fn answer<T>(
    broker: &Broker,
    action: &str,
    queue: &str,
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Failure> {
    let answer = broker.with_timeout(format!("{action} queue {queue}"), asked).await;
    answer.map_err(|error| Failure { queue: Some(queue.to_owned()), error })
}

/// Of what was asked over one channel, in order: a queue that doesn't answer keeps the broker from
/// all that was asked after it, so the first to fail is the one.
fn first_failure<T>(answers: Vec<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    answers.into_iter().collect()
}

/// Which of these pollers have jobs.
async fn filled(
    broker: &Broker,
    session: &Session,
    pollers: Vec<(usize, Arc<Source>)>,
) -> Result<Vec<usize>, Failure> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let answers = join_all(pollers.iter().map(async |(index, source)| {
        let queue = source.queue.as_str();
        let asked = session.prober.queue_declare(queue.into(), passive, FieldTable::default());
        let length = answer(broker, "look at", queue, asked).await?.message_count();
        Ok((length > 0).then_some(*index))
    }))
    .await;
    let lengths = first_failure(answers)?;
    Ok(lengths.into_iter().flatten().collect())
}

async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What a consumer's stream yielded. Its end is the library's way to tell that the broker
/// cancelled the consumer, because the queue was deleted or moved: no error comes with it.
fn delivered(
    broker: &Broker,
    queue: &str,
    given: Option<lapin::Result<Delivery>>,
) -> Result<Delivery, Error> {
    let ended = || lapin::Error::from(std::io::Error::other("the broker ended the subscription"));
    given.unwrap_or_else(|| Err(ended())).map_err(|source| Error::Broker {
        broker: broker.display_url().into(),
        action: format!("wait for jobs from queue {queue}"),
        said: Box::new(source),
    })
}
