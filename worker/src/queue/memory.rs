//! A queue in memory, for the embedded mode.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use sandfleet_common::PrintableText;
use sandfleet_transport::{LATER, MessageTrace};
use tokio::{sync::Notify, time::sleep};

use super::{AckHandle, Delivery, Queue, later};
use crate::trouble::Trouble;

/// Jobs of this process. Clones are the same queue.
#[derive(Clone, Default)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

/// What was taken out of a queue because it can't be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The message's body.
    pub body: Vec<u8>,
    /// Why it can't be answered.
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
    /// Messages, and how often each was put off.
    waiting: VecDeque<(Vec<u8>, u32)>,
    unsettled: usize,
    unreadable: Vec<SetAside>,
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
        self.shared.change(|state| state.waiting.push_back((body, 0)));
    }

    /// Says that nothing will be pushed any more: the queue ends when all is settled.
    pub fn close(&self) {
        self.shared.change(|state| state.closed = true);
    }

    /// What was set aside so far, the oldest first.
    pub fn unreadable(&self) -> Vec<SetAside> {
        self.shared.lock().unreadable.clone()
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
                if let Some((body, put_off)) = state.waiting.pop_front() {
                    state.unsettled += 1;
                    let (shared, kept) = (self.shared.clone(), Some(body.clone()));
                    let ack_handle = Box::new(MemoryAckHandle { shared, kept, put_off });
                    return Some(Delivery {
                        body,
                        put_off,
                        malformed: None,
                        is_redelivered: false,
                        taken_until: None,
                        published_by: None,
                        trace: MessageTrace::default(),
                        ack_handle,
                    });
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

    async fn check(&self) -> Result<Option<String>, Trouble> {
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

struct MemoryAckHandle {
    shared: Arc<Shared>,
    /// The body, to go back to the queue if the delivery is dropped; nothing once it is settled.
    kept: Option<Vec<u8>>,
    put_off: u32,
}

impl MemoryAckHandle {
    fn settle(&mut self, settle: impl FnOnce(&mut State)) {
        self.kept = None;
        self.shared.change(|state| {
            state.unsettled -= 1;
            settle(state);
        });
    }
}

#[async_trait]
impl AckHandle for MemoryAckHandle {
    async fn ack(mut self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        self.settle(|_| ());
        Ok(())
    }

    async fn requeue(mut self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        let put_off = self.put_off;
        self.settle(|state| state.waiting.push_back((body, put_off)));
        Ok(())
    }

    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        self.requeue(body).await
    }

    async fn later(mut self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        tokio::spawn(async move {
            sleep(LATER[later::step(self.put_off)]).await;
            let put_off = self.put_off.saturating_add(1);
            self.settle(|state| state.waiting.push_back((body, put_off)));
        });
        Ok(())
    }

    async fn set_aside(
        mut self: Box<Self>,
        body: Vec<u8>,
        reason: &PrintableText,
    ) -> Result<(), String> {
        let set_aside = SetAside { body, reason: reason.to_string() };
        self.settle(|state| state.unreadable.push(set_aside));
        Ok(())
    }
}

impl Drop for MemoryAckHandle {
    fn drop(&mut self) {
        if let Some(body) = self.kept.take() {
            let put_off = self.put_off;
            self.settle(|state| state.waiting.push_back((body, put_off)));
        }
    }
}
