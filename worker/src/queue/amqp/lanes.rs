//! The queues of one worker, and how the next job is had from them.
//!
//! A lane asks its queue for jobs (`basic.get`), for several at a time while there are some: each
//! question takes the broker a few milliseconds. If all are empty, every lane holds out a *hand*: a consumer with a prefetch of one, so that the next job comes by itself. A hand that
//! was given a job is withdrawn before anything else is asked, because settling that job would
//! fill it again; and all are withdrawn once the worker has no slot left, because a job in the
//! hand of a busy worker is a job kept from an idle one.

use futures_util::{
    FutureExt, StreamExt,
    future::{join_all, select_all},
};
use lapin::{
    Consumer,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions},
    types::FieldTable,
};
use sandfleet_common::{Isolation, Priority, names};
use sandfleet_sdk::{Broker, Error};
use tokio::sync::watch;

use super::{
    AmqpConfig,
    supervisor::{MAX_GETTERS, Session},
    turns::Turns,
};

pub(super) struct Lanes<'a> {
    broker: &'a Broker,
    session: &'a Session,
    lanes: Vec<Lane>,
    turns: Turns,
    /// How many questions to ask at a time: more after each success, one after a failure.
    questions: usize,
}

struct Lane {
    queue: String,
    hand: Hand,
    /// What a hand was given just as it was withdrawn: one delivery at most.
    held: Option<Delivery>,
}

enum Hand {
    In,
    Out(Consumer),
    /// It was given a job and has to be withdrawn.
    Full(Consumer),
}

impl<'a> Lanes<'a> {
    /// The lanes of `session`, none of which holds a hand out yet.
    pub(super) async fn open(
        broker: &'a Broker,
        session: &'a Session,
        config: &AmqpConfig,
    ) -> Result<Self, Error> {
        // For each consumer that follows. Quorum queues know no limit for a whole channel.
        let prefetch = session.channel.basic_qos(1, BasicQosOptions { global: false });
        broker.answer("limit the prefetch", prefetch).await?;
        let served: Vec<(Priority, Isolation)> = config
            .priorities
            .iter()
            .flat_map(|priority| config.isolations.iter().map(|isolation| (*priority, *isolation)))
            .collect();
        let lane = |(priority, isolation): &(Priority, Isolation)| Lane {
            queue: names::job_queue(&config.prefix, *isolation, *priority),
            hand: Hand::In,
            held: None,
        };
        Ok(Self {
            broker,
            session,
            lanes: served.iter().map(lane).collect(),
            turns: Turns::new(served.iter().map(|(priority, _)| *priority).collect()),
            questions: 1,
        })
    }

    /// The next jobs, `most` of them at most and one at least, waiting for it if there is none.
    /// None once the worker was stopped.
    pub(super) async fn next(
        &mut self,
        most: usize,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<Vec<Delivery>, Error> {
        for index in 0..self.lanes.len() {
            if matches!(self.lanes[index].hand, Hand::Full(_)) {
                self.withdraw(index).await?;
            }
        }
        loop {
            for (index, share) in self.turns.order() {
                let deliveries = self.take(index, share.min(most)).await?;
                if !deliveries.is_empty() {
                    deliveries.iter().for_each(|_| self.turns.took(index));
                    return Ok(deliveries);
                }
            }
            let mut all_were_out = true;
            for index in 0..self.lanes.len() {
                if matches!(self.lanes[index].hand, Hand::In) {
                    self.reach_out(index).await?;
                    all_were_out = false;
                }
            }
            // A new hand may have been given something already, so each is looked at once more.
            if all_were_out && !self.given(stopped).await? {
                return Ok(Vec::new());
            }
        }
    }

    /// Withdraws all hands. What they were given meanwhile is held for [`next`](Self::next).
    pub(super) async fn withdraw_all(&mut self) -> Result<(), Error> {
        for index in 0..self.lanes.len() {
            self.withdraw(index).await?;
        }
        Ok(())
    }

    /// What is held and nobody has asked for.
    pub(super) fn held(&mut self) -> Vec<Delivery> {
        self.lanes.iter_mut().filter_map(|lane| lane.held.take()).collect()
    }

    /// Jobs from this lane, `most` of them at most, if there are any now.
    async fn take(&mut self, index: usize, most: usize) -> Result<Vec<Delivery>, Error> {
        let lane = &mut self.lanes[index];
        if let Some(delivery) = lane.held.take() {
            return Ok(vec![delivery]);
        }
        if let Hand::Out(consumer) = &mut lane.hand {
            // An empty hand held out means an empty queue, without asking.
            let Some(given) = consumer.next().now_or_never() else { return Ok(Vec::new()) };
            let delivery = delivered(self.broker, &lane.queue, given)?;
            lane.hand = Hand::Full(consumer.clone());
            return Ok(vec![delivery]);
        }
        let count = most.min(self.questions);
        let answers = join_all(self.session.getters.iter().take(count).map(|getter| {
            let get = getter.basic_get(lane.queue.as_str().into(), BasicGetOptions::default());
            self.broker.answer(format!("ask queue {}", lane.queue), get)
        }))
        .await;
        let mut deliveries = Vec::with_capacity(count);
        for answer in answers {
            deliveries.extend(answer?.map(|message| message.delivery));
        }
        let all_hit = deliveries.len() >= count;
        self.questions = if all_hit { (self.questions * 2).min(MAX_GETTERS) } else { 1 };
        Ok(deliveries)
    }

    async fn reach_out(&mut self, index: usize) -> Result<(), Error> {
        let lane = &mut self.lanes[index];
        let consume = self.session.channel.basic_consume(
            lane.queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let action = format!("consume from queue {}", lane.queue);
        lane.hand = Hand::Out(self.broker.answer(action, consume).await?);
        Ok(())
    }

    async fn withdraw(&mut self, index: usize) -> Result<(), Error> {
        let lane = &mut self.lanes[index];
        let mut consumer = match std::mem::replace(&mut lane.hand, Hand::In) {
            Hand::In => return Ok(()),
            Hand::Out(consumer) | Hand::Full(consumer) => consumer,
        };
        // With the broker's word for it: a delivery that crosses an unconfirmed cancel finds no
        // consumer, is dropped by the library, and stays unsettled for ever.
        let cancel =
            self.session.channel.basic_cancel(consumer.tag(), BasicCancelOptions { nowait: false });
        self.broker.answer(format!("stop consuming from {}", lane.queue), cancel).await?;
        while let Some(given) = consumer.next().await {
            lane.held = Some(delivered(self.broker, &lane.queue, Some(given))?);
        }
        Ok(())
    }

    /// Waits until a hand is given a job, and holds that. `false` once the worker was stopped.
    async fn given(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<bool, Error> {
        let hands = self.lanes.iter_mut().enumerate().filter_map(|(index, lane)| {
            let Hand::Out(consumer) = &mut lane.hand else { return None };
            Some(consumer.next().map(move |given| (index, given)).boxed())
        });
        let (index, given) = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(false),
            ((index, given), ..) = select_all(hands) => (index, given),
        };
        let lane = &mut self.lanes[index];
        lane.held = Some(delivered(self.broker, &lane.queue, given)?);
        if let Hand::Out(consumer) = &lane.hand {
            lane.hand = Hand::Full(consumer.clone());
        }
        Ok(true)
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
        broker: broker.shown().into(),
        action: format!("wait for jobs from queue {queue}"),
        source: Box::new(source),
    })
}
