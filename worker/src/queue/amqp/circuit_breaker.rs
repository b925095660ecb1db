//! Queues that answer nothing, and are left alone until they do.
//!
//! A quorum queue without a leader answers no question, for as long as it has none, and the broker
//! doesn't even look at what else comes over the channel that it was asked on. So the session that
//! this happens to ends, the next one does without the queue, and another connection finds out when
//! it answers again.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use lapin::{
    Connection,
    options::{BasicGetOptions, BasicNackOptions},
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
};
use sandfleet_transport::{Broker, Error};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use super::failure::{Failure, why};
use crate::pauses::Pauses;

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A queue that was here a shorter time ago is one that comes and goes. Each time costs a session.
const MEMORY: Duration = Duration::from_secs(600);

pub(super) struct CircuitBreaker {
    broker: Broker,
    stuck: watch::Sender<BTreeSet<String>>,
    /// How long the first pause was, the last time, and when that was.
    pauses: HashMap<String, (Duration, Instant)>,
    probes: JoinSet<()>,
}

impl CircuitBreaker {
    /// One where no queue is.
    pub(super) fn new(broker: Broker) -> Self {
        let stuck = watch::Sender::default();
        Self { broker, stuck, pauses: HashMap::new(), probes: JoinSet::new() }
    }

    /// The queues that are left alone at present.
    pub(super) fn stuck(&self) -> watch::Receiver<BTreeSet<String>> {
        self.stuck.subscribe()
    }

    /// Takes in the queue that a session over `connection` failed for, if that was its doing, and
    /// says whether it was.
    pub(super) async fn admit(&mut self, failure: &Failure, connection: &Connection) -> bool {
        let Failure { queue: Some(queue), error } = failure else { return false };
        let its_doing = match error {
            // A broker that answers all but this.
            Error::TimedOut { .. } => self
                .broker
                .with_timeout("open a channel", connection.create_channel())
                .await
                .is_ok(),
            Error::Broker { said, .. } => gave_up(said),
            _ => false,
        };
        if its_doing {
            warn!(queue, error = why(error), "a queue is stuck; serving the others without it");
            self.isolate(queue);
        }
        its_doing
    }

    fn isolate(&mut self, queue: &str) {
        let now = Instant::now();
        let pause = match self.pauses.get(queue) {
            Some((last, since)) if since.elapsed() < MEMORY => (*last * 2).min(LONGEST_PAUSE),
            _ => SHORTEST_PAUSE,
        };
        self.pauses.insert(queue.to_owned(), (pause, now));
        self.stuck.send_if_modified(|stuck| stuck.insert(queue.to_owned()));
        // The set keeps those that ended until they are joined.
        while self.probes.try_join_next().is_some() {}
        let (broker, stuck, queue) = (self.broker.clone(), self.stuck.clone(), queue.to_owned());
        self.probes.spawn(async move {
            answers_again(&broker, &queue, pause).await;
            info!(queue, "a queue answers again; taking its jobs");
            stuck.send_if_modified(|stuck| stuck.remove(&queue));
        });
    }
}

/// Whether the broker itself has waited long enough for a queue.
fn gave_up(error: &lapin::Error) -> bool {
    said(error) == Some(AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR))
}

/// What kind of error the broker sent, if it was the broker.
fn said(error: &lapin::Error) -> Option<AMQPErrorKind> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(said) => Some(said.kind().clone()),
        _ => None,
    }
}

/// Asks `queue` less and less often until it answers.
async fn answers_again(broker: &Broker, queue: &str, first: Duration) {
    let mut pauses = Pauses::new(first, LONGEST_PAUSE);
    loop {
        let pause = pauses.next();
        time::sleep(pause).await;
        match broker.connect().await {
            Ok(connection) => match ask(broker, &connection, queue).await {
                Ok(()) => return,
                Err(error) => debug!(queue, error = why(&error), ?pause, "still stuck"),
            },
            // A broker that was away begins anew with all its queues.
            Err(_) => pauses = Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE),
        }
    }
}

/// Asks as a worker does: to look at its length proves nothing, since RabbitMQ says of a queue that
/// it gets no answer from that it is empty. The price is a return of the job that comes, if one does.
async fn ask(broker: &Broker, connection: &Connection, queue: &str) -> Result<(), Error> {
    let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
    let get = channel.basic_get(queue.into(), BasicGetOptions::default());
    match broker.with_timeout(format!("ask queue {queue}"), get).await {
        Ok(message) => {
            if let Some(message) = message {
                let back = BasicNackOptions { multiple: false, requeue: true };
                // If this doesn't reach the broker, the end of the connection does.
                let _ = broker.with_timeout("return a job", message.acker.nack(back)).await;
            }
            let _ = broker.with_timeout("close", connection.close(200, "it answers".into())).await;
            Ok(())
        }
        // It was deleted, and the next session declares it.
        Err(Error::Broker { said: answer, .. })
            if said(&answer) == Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// How a worker that serves so many queues is without those that are stuck: what to know of it, or
/// why it can't work.
pub(super) fn verdict(stuck: &BTreeSet<String>, served: usize) -> Result<Option<String>, String> {
    if stuck.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = stuck.iter().map(String::as_str).collect();
    let note = format!(
        "no answer from queue {}; see by `rabbitmq-queues quorum_status NAME` whether it has a \
         leader",
        names.join(", ")
    );
    if stuck.len() < served { Ok(Some(note)) } else { Err(note) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_ready_until_its_last_queue_is_stuck() {
        let stuck = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(verdict(&stuck(&[]), 2), Ok(None));
        let note = verdict(&stuck(&["a"]), 2).expect("ready").expect("a note");
        assert!(note.contains("queue a;"), "{note}");
        let reason = verdict(&stuck(&["a", "b"]), 2).expect_err("not ready");
        assert!(reason.contains("queue a, b;"), "{reason}");
    }
}
