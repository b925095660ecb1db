//! A queue in memory, for the embedded mode.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Delivery, Queue, Receipt};

/// Jobs of this process. Clones are the same queue.
#[derive(Clone, Default)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

/// What was taken out of a queue because it can't be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's body.
    pub body: Vec<u8>,
    /// Why nobody can answer it.
    pub reason: String,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever `next` might have another answer.
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    unsettled: usize,
    dead_letters: Vec<DeadLetter>,
    closed: bool,
    stopped: bool,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a job's bytes at the end.
    pub fn push(&self, body: Vec<u8>) {
        self.shared.change(|state| state.waiting.push_back(body));
    }

    /// Says that nothing will be pushed any more: the queue ends when all is settled.
    pub fn close(&self) {
        self.shared.change(|state| state.closed = true);
    }

    /// What went to the dead letters so far, the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.lock().dead_letters.clone()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn next(&self) -> Option<Delivery> {
        loop {
            // Listening before looking, so that no change in between goes unnoticed.
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if state.stopped {
                    return None;
                }
                if let Some(body) = state.waiting.pop_front() {
                    state.unsettled += 1;
                    let receipt =
                        MemoryReceipt { shared: self.shared.clone(), kept: Some(body.clone()) };
                    return Some(Delivery { body, receipt: Box::new(receipt) });
                }
                // What is unsettled may come back.
                if state.closed && state.unsettled == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    async fn stop(&self) {
        self.shared.change(|state| state.stopped = true);
    }

    async fn check(&self) -> Result<Option<String>, String> {
        Ok(None)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }
}

struct MemoryReceipt {
    shared: Arc<Shared>,
    /// The body, to go back to the queue if the delivery is dropped; nothing once it is settled.
    kept: Option<Vec<u8>>,
}

impl MemoryReceipt {
    fn settle(&mut self, settle: impl FnOnce(&mut State)) {
        self.kept = None;
        self.shared.change(|state| {
            state.unsettled -= 1;
            settle(state);
        });
    }
}

#[async_trait]
impl Receipt for MemoryReceipt {
    async fn ack(mut self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        self.settle(|_| ());
        Ok(())
    }

    async fn requeue(mut self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        self.settle(|state| state.waiting.push_back(body));
        Ok(())
    }

    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        self.requeue(body).await
    }

    async fn dead_letter(mut self: Box<Self>, body: Vec<u8>, reason: &str) -> Result<(), String> {
        let dead_letter = DeadLetter { body, reason: reason.to_owned() };
        self.settle(|state| state.dead_letters.push(dead_letter));
        Ok(())
    }
}

impl Drop for MemoryReceipt {
    fn drop(&mut self) {
        if let Some(body) = self.kept.take() {
            self.settle(|state| state.waiting.push_back(body));
        }
    }
}
