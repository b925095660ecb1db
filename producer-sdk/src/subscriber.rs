//! One connection that listens for the ends of all jobs somebody waits for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use redis::{
    Client, RedisResult,
    aio::{PubSubSink, PubSubStream},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, Instant},
};
use tracing::debug;

/// How long the server may take to answer, and how long a silent connection is trusted.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// How many requests are served with one command.
const BATCH: usize = 512;

/// What was said last on a channel, if that was heard.
type Said = Option<Arc<[u8]>>;

/// The task's handle; the task ends with it.
pub(crate) struct Subscriber {
    requests: mpsc::UnboundedSender<Request>,
}

enum Request {
    Join { channel: String, joined: oneshot::Sender<watch::Receiver<Said>> },
    Leave { channel: String },
}

/// Hears what is announced on one channel.
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

    /// Listens on `channel`: from when this returns if there is a connection, else there will be
    /// one announcement once there is, so that nothing in between goes unnoticed. Not at all if
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
    /// Forgets what was announced so far.
    pub(crate) fn mark_seen(&mut self) {
        if let Some(heard) = &mut self.heard {
            heard.mark_unchanged();
        }
    }

    /// Returns what was announced last since [`mark_seen`](Self::mark_seen), as soon as something was; nothing if
    /// it is only known that something may have been. Never, if nothing can be heard.
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
        // The receiver goes first: the task unsubscribes when it finds nobody listening.
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
            // Nobody waits, so no connection is needed.
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
                    time::sleep(RETRY).await;
                }
            }
            self.forget_left();
        }
    }

    /// Connects, subscribes to all channels and listens until that fails.
    async fn listen(&mut self) -> End {
        let connected = time::timeout(PATIENCE, self.client.get_async_pubsub()).await;
        let (mut sink, mut stream) = match connected {
            Ok(Ok(connection)) => connection.split(),
            Ok(Err(error)) => return End::Lost(error.to_string()),
            Err(_) => return End::Lost(format!("no connection in {PATIENCE:?}")),
        };
        let names: Vec<&str> = self.channels.keys().map(String::as_str).collect();
        if let Err(reason) = answer(sink.subscribe(names.as_slice())).await {
            return End::Lost(reason);
        }
        // Whoever waited while nothing could be heard has to look once.
        self.channels.values().for_each(|channel| _ = channel.send(None));
        self.serve(&mut sink, &mut stream).await
    }

    async fn serve(&mut self, sink: &mut PubSubSink, stream: &mut PubSubStream) -> End {
        // Without traffic a dead peer would never be noticed.
        let mut silence = time::interval_at(Instant::now() + PATIENCE, PATIENCE);
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

    /// Does what was asked for, with one command for all that come and one for all that go.
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
        // Also those that the server didn't hear of: there will be a connection that has them all.
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

    /// Whether nobody listens to `channel` any more and it was forgotten.
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

async fn answer<T>(reply: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match time::timeout(PATIENCE, reply).await {
        Ok(reply) => reply.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {PATIENCE:?}")),
    }
}
