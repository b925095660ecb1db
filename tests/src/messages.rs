//! Messages in the queues of a test: put there, found, or counted.

use lapin::{
    Channel,
    message::BasicGetMessage,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::AMQPValue,
};
use sandfleet_common::{Isolation, Job, Priority, decode_job, names};
use sandfleet_transport::{LATER, Message};
use sandfleet_worker::queue::{
    Queue,
    settle::{Settlement, settle},
};

use crate::{Services, soon};

impl Services {
    /// The jobs that a worker finds, until it has so many.
    ///
    /// # Panics
    /// If they don't come, or one is no job.
    pub async fn jobs_in_queue(&self, count: usize) -> Vec<Job> {
        let queue = self.queue(&self.amqp_url, 1);
        let mut jobs = Vec::new();
        while jobs.len() < count {
            let delivery = soon("a job", queue.next()).await.expect("the queue goes on");
            jobs.push(decode_job(&delivery.body, 8 << 20).expect("a valid job"));
            settle(delivery, Settlement::Done).await;
        }
        jobs
    }

    /// Puts a message into the queue of plain containers, whatever it holds.
    ///
    /// # Panics
    /// If the broker doesn't take it.
    pub async fn push(&self, priority: Priority, body: &[u8]) {
        self.publisher
            .publish(self.message(priority, body))
            .await
            .expect("the broker takes a message");
    }

    /// As [`push`](Self::push), for many.
    ///
    /// # Panics
    /// If the broker doesn't take them all.
    pub async fn push_all(&self, priority: Priority, bodies: impl Iterator<Item = Vec<u8>>) {
        let messages: Vec<Message> = bodies.map(|body| self.message(priority, &body)).collect();
        for outcome in self.publisher.publish_all(&messages).await {
            outcome.expect("the broker takes a message");
        }
    }

    fn message(&self, priority: Priority, body: &[u8]) -> Message {
        Message {
            exchange: String::new(),
            routing_key: names::job_queue(&self.prefix, Isolation::Container, priority),
            id: String::new(),
            headers: Default::default(),
            body: body.to_vec(),
        }
    }

    /// Takes a message from the dead letters, those that a worker has passed on first: its body,
    /// and the reason if it has one.
    ///
    /// # Panics
    /// If the broker isn't there.
    pub async fn dead_letter(&self) -> Option<(Vec<u8>, String)> {
        let (_connection, channel) = self.channel().await.expect("the broker runs");
        let unreadable = names::unreadable_queue(&self.prefix);
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared =
            channel.queue_declare(unreadable.as_str().into(), passive, Default::default()).await;
        if declared.is_ok_and(|queue| queue.message_count() > 0) {
            return letter_in(&channel, &unreadable).await;
        }
        // Asking for what isn't there has closed the channel.
        let (_connection, channel) = self.channel().await.expect("the broker runs");
        letter_in(&channel, &names::dead_queue(&self.prefix)).await
    }

    /// Whether no message of a job is left that a worker has to settle: neither in the queues of plain
    /// jobs, nor among the dead letters, nor put off.
    ///
    /// # Panics
    /// If the broker isn't there, or a queue isn't.
    pub async fn is_empty(&self) -> bool {
        let mut queues: Vec<String> = Priority::ALL
            .iter()
            .map(|priority| names::job_queue(&self.prefix, Isolation::Container, *priority))
            .collect();
        queues.extend((0..LATER.len()).map(|step| names::later_queue(&self.prefix, step)));
        queues.push(names::dead_queue(&self.prefix));
        // What a worker holds counts too, which only the server's own list tells.
        let list = self.rabbitmqctl(&["-q", "list_queues", "name", "messages"]);
        queues.iter().all(|queue| {
            let line = list.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
            line.unwrap_or_else(|| panic!("{queue} is missing in {list}")) == "0"
        })
    }

    /// Takes a message from the queue of those that can't be answered: its body, and the reason.
    ///
    /// # Panics
    /// If the broker isn't there.
    pub async fn unreadable(&self) -> Option<(Vec<u8>, String)> {
        let (_connection, channel) = self.channel().await.expect("the broker runs");
        let got =
            channel.basic_get(names::unreadable_queue(&self.prefix).as_str().into(), take()).await;
        // Before a worker was there, the queue isn't.
        got.ok()?.map(letter)
    }

    /// Puts a message among the dead letters.
    ///
    /// # Panics
    /// If the broker doesn't take it.
    pub async fn bury(&self, body: &[u8]) {
        let exchange = names::dead_exchange(&self.prefix);
        let message =
            Message { exchange, routing_key: String::new(), ..self.message(Priority::Batch, body) };
        self.publisher.publish(message).await.expect("the broker takes a message");
    }
}

/// Takes a message from `queue`.
async fn letter_in(channel: &Channel, queue: &str) -> Option<(Vec<u8>, String)> {
    let got = channel.basic_get(queue.into(), take()).await;
    got.expect("the queue is there").map(letter)
}

fn take() -> BasicGetOptions {
    BasicGetOptions { no_ack: true }
}

/// The body of a message, and the reason why it was set aside if it says one.
fn letter(got: BasicGetMessage) -> (Vec<u8>, String) {
    let headers = got.delivery.properties.headers().clone().unwrap_or_default();
    let reason = match headers.inner().get("x-sandfleet-reason") {
        Some(AMQPValue::LongString(reason)) => reason.to_string(),
        _ => String::new(),
    };
    (got.delivery.data, reason)
}
