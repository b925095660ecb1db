//! One queue, as a worker sees it.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64},
    time::Duration,
};

use lapin::{Consumer, message::Delivery};
use tokio::time::Instant;

/// How long after its last job a tenants' queue is asked as often as the others.
const ACTIVE_FOR: Duration = Duration::from_secs(5);
/// How long nothing is taken from a queue whose jobs have to wait for others of their tenant.
const BACKOFF: Duration = Duration::from_millis(100);

pub(super) struct Poller {
    pub(super) source: Arc<Source>,
    pub(super) subscription: Subscription,
    /// What a subscription was given just as it was cancelled: one delivery at most.
    pub(super) held: Option<Delivery>,
    /// How many questions to ask at a time: more after each success, one after a failure.
    pub(super) questions: usize,
    /// Its queue answers nothing, and is left alone.
    pub(super) stuck: bool,
    /// Until when it is asked like any other; nothing for one that always is.
    active_until: Option<Instant>,
}

pub(super) enum Subscription {
    None,
    Open(Consumer),
    /// It was given a job and has to be withdrawn.
    Delivered(Consumer),
}

/// Where a delivery came from.
pub(super) struct Source {
    pub(super) queue: String,
    /// When the last job that was taken from it had been submitted, in Unix milliseconds; 0 before the first.
    pub(super) taken_until: Arc<AtomicI64>,
    backoff_until: Mutex<Option<Instant>>,
}

impl Source {
    /// Has nothing taken from this queue for a moment.
    pub(super) fn back_off(&self) {
        *self.backoff_until.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Instant::now() + BACKOFF);
    }

    /// Until when nothing is taken from it, if that is so at `now`.
    fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        let until = *self.backoff_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > now)
    }
}

impl Poller {
    /// A poller of `queue` without a subscription; one of the `tenants`' is empty most of the time.
    pub(super) fn to(queue: String, tenants: bool, taken_until: Arc<AtomicI64>) -> Self {
        Self {
            source: Arc::new(Source { queue, taken_until, backoff_until: Mutex::default() }),
            subscription: Subscription::None,
            held: None,
            questions: 1,
            stuck: false,
            active_until: tenants.then(Instant::now),
        }
    }

    /// Until when nothing is taken from it, if that is so.
    pub(super) fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        self.source.backs_off_until(now)
    }

    /// Whether anything is taken from it.
    pub(super) fn is_served(&self, now: Instant) -> bool {
        !self.stuck && self.backs_off_until(now).is_none()
    }

    /// Whether it is worth asking: nothing says that it is empty, or the answer costs nothing.
    pub(super) fn is_asked(&self, now: Instant) -> bool {
        self.held.is_some()
            || self.is_served(now) && (self.is_active(now) || self.has_subscription())
    }

    /// Whether its depth has to be probed from time to time, since it isn't asked.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.is_served(now) && !self.is_asked(now)
    }

    pub(super) fn is_active(&self, now: Instant) -> bool {
        self.active_until.is_none_or(|until| until > now)
    }

    /// There is something in it, or was just now.
    pub(super) fn mark_active(&mut self, now: Instant) {
        if let Some(until) = &mut self.active_until {
            *until = now + ACTIVE_FOR;
        }
    }

    fn has_subscription(&self) -> bool {
        !matches!(self.subscription, Subscription::None)
    }
}
