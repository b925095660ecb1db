//! One subscription to the notifications of all jobs that are waited for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use redis::{
    Client,
    aio::{PubSubSink, PubSubStream},
};
use sandfleet_transport::subscription::{self, ANSWER_TIMEOUT, RECONNECT_PAUSE, answer};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, Instant},
};
use tracing::debug;

/// How many requests are served with one command.
const BATCH: usize = 512;

/// The last message on a channel, if it was received.
type Said = Option<Arc<[u8]>>;

/// The task's handle; the task ends with it.
pub(crate) struct Subscriber {
    requests: mpsc::UnboundedSender<Request>,
}

enum Request {
    Join { channel: String, joined: oneshot::Sender<watch::Receiver<Said>> },
    Leave { channel: String },
}

/// Receives what is published on one channel.
pub(crate) struct Notifications {
    channel: String,
    heard: Option<watch::Receiver<Said>>,
    requests: mpsc::UnboundedSender<Request>,
}

impl Subscriber {
    pub(crate) fn start(client: Client) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        tokio::spawn(Task { client, incoming, channels: HashMap::new() }.run());
        Self { requests }
    }

    /// Subscribes to `channel`: from when this returns if there is a connection, else there will be
    /// one notification once there is, so that nothing in between goes unnoticed. Not at all if
    /// the server doesn't answer soon; the caller reads again from time to time anyway.
    pub(crate) async fn join(&self, channel: String, end: Option<Instant>) -> Notifications {
        let (joined, answer) = oneshot::channel();
        let request = Request::Join { channel: channel.clone(), joined };
        let until = Instant::now() + Duration::from_secs(1);
        let until = end.map_or(until, |end| end.min(until));
        let heard = match self.requests.send(request) {
            Ok(()) => time::timeout_at(until, answer).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        Notifications { channel, heard, requests: self.requests.clone() }
    }
}

impl Notifications {
    /// Ignores what was published so far.
    pub(crate) fn mark_seen(&mut self) {
        if let Some(heard) = &mut self.heard {
            heard.mark_unchanged();
        }
    }

    /// Returns the last message since [`mark_seen`](Self::mark_seen), as soon as there is one; nothing
    /// if one may have been lost. Never returns without a subscription.
    pub(crate) async fn next(&mut self) -> Said {
        if let Some(heard) = &mut self.heard
            && heard.changed().await.is_ok()
        {
            return heard.borrow_and_update().clone();
        }
        std::future::pending().await
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        // The receiver goes first: the task unsubscribes from channels without receivers.
        self.heard = None;
        let _ = self.requests.send(Request::Leave { channel: std::mem::take(&mut self.channel) });
    }
}

struct Task {
    client: Client,
    incoming: mpsc::UnboundedReceiver<Request>,
    channels: HashMap<String, watch::Sender<Said>>,
}

/// Why a connection was left.
enum End {
    ClientGone,
    Lost(String),
}

impl Task {
    async fn run(mut self) {
        loop {
            // Without channels no connection is needed.
            while self.channels.is_empty() {
                match self.incoming.recv().await {
                    Some(Request::Join { channel, joined }) => self.enter(channel, joined),
                    Some(Request::Leave { .. }) => {}
                    None => return,
                }
            }
            match self.listen().await {
                End::ClientGone => return,
                End::Lost(reason) => {
                    debug!(reason, "no notifications from the store; trying again");
                    time::sleep(RECONNECT_PAUSE).await;
                }
            }
            self.forget_left();
        }
    }

    /// Connects, subscribes to all channels and listens until that fails.
    async fn listen(&mut self) -> End {
        let (mut sink, mut stream) = match subscription::open(&self.client).await {
            Ok(opened) => opened,
            Err(reason) => return End::Lost(reason),
        };
        let names: Vec<&str> = self.channels.keys().map(String::as_str).collect();
        if let Err(reason) = answer(sink.subscribe(names.as_slice())).await {
            return End::Lost(reason);
        }
        // What was published while there was no connection is lost: every receiver reads once.
        self.channels.values().for_each(|channel| _ = channel.send(None));
        self.serve(&mut sink, &mut stream).await
    }

    async fn serve(&mut self, sink: &mut PubSubSink, stream: &mut PubSubStream) -> End {
        // Without traffic a dead peer would never be noticed.
        let mut silence = time::interval_at(Instant::now() + ANSWER_TIMEOUT, ANSWER_TIMEOUT);
        let mut requests = Vec::new();
        loop {
            let outcome = tokio::select! {
                message = stream.next() => match message {
                    Some(message) => {
                        if let Some(channel) = self.channels.get(message.get_channel_name()) {
                            _ = channel.send(Some(message.get_payload_bytes().into()));
                        }
                        Ok(())
                    }
                    None => Err("connection closed".to_owned()),
                },
                count = self.incoming.recv_many(&mut requests, BATCH) => match count {
                    0 => return End::ClientGone,
                    _ => self.grant(sink, requests.drain(..)).await,
                },
                _ = silence.tick() => answer(sink.ping::<redis::Value>()).await.map(drop),
            };
            if let Err(reason) = outcome {
                return End::Lost(reason);
            }
        }
    }

    /// Subscribes and unsubscribes, with one command each.
    async fn grant(
        &mut self,
        sink: &mut PubSubSink,
        requests: impl Iterator<Item = Request>,
    ) -> Result<(), String> {
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::Join { channel, joined } => joins.push((channel, joined)),
                Request::Leave { channel } => leaves.push(channel),
            }
        }
        let new: BTreeSet<&str> = joins
            .iter()
            .map(|(channel, _)| channel.as_str())
            .filter(|channel| !self.channels.contains_key(*channel))
            .collect();
        let subscribed = match new.is_empty() {
            true => Ok(()),
            false => answer(sink.subscribe(new.into_iter().collect::<Vec<_>>())).await,
        };
        // Also those that the server didn't get: the next connection subscribes to them all.
        joins.into_iter().for_each(|(channel, joined)| self.enter(channel, joined));
        subscribed?;
        leaves.retain(|channel| self.forget(channel));
        match leaves.is_empty() {
            true => Ok(()),
            false => answer(sink.unsubscribe(leaves)).await,
        }
    }

    fn enter(&mut self, channel: String, joined: oneshot::Sender<watch::Receiver<Said>>) {
        let sender = self.channels.entry(channel).or_insert_with(|| watch::channel(None).0);
        let _ = joined.send(sender.subscribe());
    }

    /// Whether `channel` had no receivers any more and was removed.
    fn forget(&mut self, channel: &str) -> bool {
        let left = self.channels.get(channel).is_some_and(|sender| sender.is_closed());
        if left {
            self.channels.remove(channel);
        }
        left
    }

    fn forget_left(&mut self) {
        self.channels.retain(|_, sender| !sender.is_closed());
    }
}
