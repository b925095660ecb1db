//! The queues of one worker, and how the next job is had from them.
//!
//! A lane asks its queue for jobs (`basic.get`), for several at a time while there are some: each
//! question takes the broker a few milliseconds. If all are empty, every lane holds out a *hand*: a
//! consumer with a prefetch of one, so that the next job comes by itself. A hand that was given a
//! job is withdrawn before anything else is asked, because settling that job would fill it again;
//! and all are withdrawn once the worker has no slot left, because a job in the hand of a busy
//! worker is a job kept from an idle one.
//!
//! Most of the tenants' queues are empty most of the time, and asking each of them before every
//! job would cost more than the job. So a lane of theirs that was empty for a while is *cold*: the
//! worker looks at the lengths of all cold ones at once, a few times a second, and holds hands out
//! over them when it has been idle for a moment.

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
use sandfleet_common::{
    Priority,
    names::{self, TENANT_SHARDS},
};
use sandfleet_sdk::{Broker, Error};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use super::{
    AmqpConfig,
    lane::{Hand, Lane, Source},
    quarantine::Failure,
    supervisor::{MAX_GETTERS, Session},
    turns::Turns,
};

/// How long a worker is without a job before it holds hands out over cold lanes too.
const IDLE: Duration = Duration::from_millis(100);
/// How often cold lanes are looked at: less and less often while they stay empty.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

pub(super) struct Lanes<'a> {
    broker: &'a Broker,
    session: &'a Session,
    lanes: Vec<Lane>,
    turns: Turns,
    /// The queues that are left alone.
    stuck: watch::Receiver<BTreeSet<String>>,
    /// When the last job was had.
    busy_at: Instant,
    look_at: Instant,
    look_pause: Duration,
    /// A look at the cold lanes that is under way.
    looking: Option<BoxFuture<'a, Result<Vec<usize>, Failure>>>,
}

/// A delivery, and where it came from.
pub(super) type Taken = (Delivery, Arc<Source>);

impl<'a> Lanes<'a> {
    /// The lanes of `session`, none of which holds a hand out yet.
    pub(super) async fn open(
        broker: &'a Broker,
        session: &'a Session,
        config: &AmqpConfig,
        stuck: watch::Receiver<BTreeSet<String>>,
    ) -> Result<Self, Error> {
        // For each consumer that follows. Quorum queues know no limit for a whole channel.
        let prefetch = session.channel.basic_qos(1, BasicQosOptions { global: false });
        broker.with_timeout("limit the prefetch", prefetch).await?;
        let (mut lanes, mut priorities) = (Vec::new(), Vec::new());
        for (priority, queue, tenants) in queues(config) {
            lanes.push(Lane::to(queue, tenants));
            priorities.push(priority);
        }
        let now = Instant::now();
        let mut lanes = Self {
            broker,
            session,
            lanes,
            turns: Turns::new(priorities),
            stuck,
            busy_at: now,
            look_at: now,
            look_pause: SHORTEST_LOOK,
            looking: None,
        };
        lanes.leave_alone();
        Ok(lanes)
    }

    /// Leaves those alone that are stuck now, and no others.
    fn leave_alone(&mut self) {
        let stuck = self.stuck.borrow_and_update();
        for lane in &mut self.lanes {
            lane.stuck = stuck.contains(&lane.source.queue);
        }
    }

    /// The next jobs, `most` of them at most and one at least, waiting for it if there is none.
    /// None once the worker was stopped.
    pub(super) async fn next(
        &mut self,
        most: usize,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<Vec<Taken>, Failure> {
        self.withdraw(|lane, now| matches!(lane.hand, Hand::Full(_)) || lane.rests(now).is_some())
            .await?;
        loop {
            if self.stuck.has_changed().unwrap_or(false) {
                self.leave_alone();
            }
            self.look()?;
            let now = Instant::now();
            for (index, share) in self.turns.order(|index| self.lanes[index].is_asked(now)) {
                let deliveries = self.take(index, share.min(most)).await?;
                if !deliveries.is_empty() {
                    deliveries.iter().for_each(|_| self.turns.took(index));
                    let lane = &mut self.lanes[index];
                    self.busy_at = Instant::now();
                    lane.warm(self.busy_at);
                    let source = || lane.source.clone();
                    return Ok(deliveries.into_iter().map(|given| (given, source())).collect());
                }
            }
            // A new hand may have been given something already, so each is looked at once more.
            if !self.reach_out().await? && !self.given(stopped).await? {
                return Ok(Vec::new());
            }
        }
    }

    /// Withdraws all hands. What they were given meanwhile is [`held`](Self::held).
    pub(super) async fn withdraw_all(&mut self) -> Result<(), Failure> {
        self.withdraw(|_, _| true).await
    }

    /// What is held and nobody has asked for.
    pub(super) fn held(&mut self) -> Vec<Taken> {
        let held = |lane: &mut Lane| Some((lane.held.take()?, lane.source.clone()));
        self.lanes.iter_mut().filter_map(held).collect()
    }

    /// Jobs from this lane, `most` of them at most, if there are any now.
    async fn take(&mut self, index: usize, most: usize) -> Result<Vec<Delivery>, Failure> {
        let lane = &mut self.lanes[index];
        let queue = lane.source.queue.as_str();
        if let Some(delivery) = lane.held.take() {
            return Ok(vec![delivery]);
        }
        if let Hand::Out(consumer) = &mut lane.hand {
            // An empty hand held out means an empty queue, without asking.
            let Some(given) = consumer.next().now_or_never() else { return Ok(Vec::new()) };
            let delivery = delivered(self.broker, queue, given)?;
            lane.hand = Hand::Full(consumer.clone());
            return Ok(vec![delivery]);
        }
        let count = most.min(lane.questions);
        let answers = join_all(self.session.getters.iter().take(count).map(|getter| {
            let get = getter.basic_get(queue.into(), BasicGetOptions::default());
            answer(self.broker, "ask", queue, get)
        }))
        .await;
        let mut deliveries = Vec::with_capacity(count);
        for answer in answers {
            deliveries.extend(answer?.map(|message| message.delivery));
        }
        let all_hit = deliveries.len() >= count;
        lane.questions = if all_hit { (lane.questions * 2).min(MAX_GETTERS) } else { 1 };
        Ok(deliveries)
    }

    /// Finds out which of the cold lanes have jobs, if it is time to, and doesn't wait for the
    /// answers: nobody is to be kept from his job by empty queues.
    fn look(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.looking.is_none() && now >= self.look_at {
            let cold = self.lanes.iter().enumerate().filter(|(_, lane)| lane.is_cold(now));
            let cold: Vec<_> = cold.map(|(index, lane)| (index, lane.source.clone())).collect();
            self.looking = Some(filled(self.broker, self.session, cold).boxed());
        }
        let answers = self.looking.as_mut().and_then(|looking| looking.now_or_never());
        if let Some(filled) = answers {
            self.found(filled?);
        }
        Ok(())
    }

    /// These lanes have jobs.
    fn found(&mut self, filled: Vec<usize>) {
        let now = Instant::now();
        self.looking = None;
        self.look_pause = match filled.is_empty() {
            true => (self.look_pause * 2).min(LONGEST_LOOK),
            false => SHORTEST_LOOK,
        };
        self.look_at = now + self.look_pause;
        filled.into_iter().for_each(|index| self.lanes[index].warm(now));
    }

    /// Holds out the hands that are worth it, and says whether those were any.
    async fn reach_out(&mut self) -> Result<bool, Failure> {
        let now = Instant::now();
        let idle = self.busy_at + IDLE <= now;
        let empty = self.lanes.iter_mut().filter(|lane| {
            let worth_it = idle || lane.is_warm(now);
            matches!(lane.hand, Hand::In) && lane.is_served(now) && worth_it
        });
        let reached = join_all(empty.map(async |lane| {
            let queue = lane.source.queue.as_str();
            let consume = self.session.channel.basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            lane.hand = Hand::Out(answer(self.broker, "consume from", queue, consume).await?);
            Ok::<_, Failure>(())
        }))
        .await;
        let count = reached.len();
        first_failure(reached)?;
        Ok(count > 0)
    }

    async fn withdraw(&mut self, which: impl Fn(&Lane, Instant) -> bool) -> Result<(), Failure> {
        let now = Instant::now();
        let out = self.lanes.iter_mut().filter(|lane| which(lane, now));
        let withdrawn = join_all(out.map(async |lane| {
            let mut consumer = match std::mem::replace(&mut lane.hand, Hand::In) {
                Hand::In => return Ok(()),
                Hand::Out(consumer) | Hand::Full(consumer) => consumer,
            };
            let queue = lane.source.queue.as_str();
            // With the broker's word for it: a delivery that crosses an unconfirmed cancel finds no
            // consumer, is dropped by the library, and stays unsettled for ever.
            let cancel = BasicCancelOptions { nowait: false };
            let cancel = self.session.channel.basic_cancel(consumer.tag(), cancel);
            answer(self.broker, "stop consuming from", queue, cancel).await?;
            while let Some(given) = consumer.next().await {
                lane.held = Some(delivered(self.broker, queue, Some(given))?);
            }
            Ok(())
        }))
        .await;
        first_failure(withdrawn).map(drop)
    }

    /// Waits until a hand is given a job, and holds that, or until there is something else to do.
    /// `false` once the worker was stopped.
    async fn given(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<bool, Failure> {
        let now = Instant::now();
        let rested = self.lanes.iter().filter_map(|lane| lane.rests(now)).min();
        let looks = self.looking.is_none() && self.lanes.iter().any(|lane| lane.is_cold(now));
        let look = looks.then_some(self.look_at.min(self.busy_at + IDLE));
        let until = [rested, look].into_iter().flatten().min();
        let hands = self.lanes.iter_mut().enumerate().filter_map(|(index, lane)| {
            let Hand::Out(consumer) = &mut lane.hand else { return None };
            Some(consumer.next().map(move |given| (index, given)).boxed())
        });
        let hands: Vec<_> = hands.collect();
        let given = async {
            // All may be resting, and then there is no hand.
            if hands.is_empty() { std::future::pending().await } else { select_all(hands).await.0 }
        };
        let looking = async {
            match &mut self.looking {
                Some(looking) => looking.await,
                None => std::future::pending().await,
            }
        };
        let (index, given) = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(false),
            () = alarm(until) => return Ok(true),
            _ = self.stuck.changed() => {
                self.leave_alone();
                return Ok(true);
            }
            filled = looking => {
                self.found(filled?);
                return Ok(true);
            }
            given = given => given,
        };
        let lane = &mut self.lanes[index];
        lane.held = Some(delivered(self.broker, &lane.source.queue, given)?);
        if let Hand::Out(consumer) = &lane.hand {
            lane.hand = Hand::Full(consumer.clone());
        }
        Ok(true)
    }
}

/// The queues of a worker, with their priorities, and whether they are tenants'.
pub(super) fn queues(config: &AmqpConfig) -> Vec<(Priority, String, bool)> {
    let (prefix, mut queues) = (&config.prefix, Vec::new());
    for priority in &config.priorities {
        for isolation in &config.isolations {
            queues.push((*priority, names::job_queue(prefix, *isolation, *priority), false));
            let shard = |number| names::shard_queue(prefix, *isolation, *priority, number);
            queues.extend((0..TENANT_SHARDS).map(|number| (*priority, shard(number), true)));
        }
    }
    queues
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

/// Which of these lanes have jobs.
async fn filled(
    broker: &Broker,
    session: &Session,
    lanes: Vec<(usize, Arc<Source>)>,
) -> Result<Vec<usize>, Failure> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let answers = join_all(lanes.iter().map(async |(index, source)| {
        let queue = source.queue.as_str();
        let asked = session.looker.queue_declare(queue.into(), passive, FieldTable::default());
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
        source: Box::new(source),
    })
}
