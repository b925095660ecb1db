//! One queue, as a worker sees it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{Consumer, message::Delivery};
use tokio::time::Instant;

/// How long after its last job a tenants' queue is asked as often as the others.
const WARM: Duration = Duration::from_secs(5);
/// How long nothing is taken from a queue whose jobs have to wait for others of their tenant.
const REST: Duration = Duration::from_millis(100);

pub(super) struct Lane {
    pub(super) source: Arc<Source>,
    pub(super) hand: Hand,
    /// What a hand was given just as it was withdrawn: one delivery at most.
    pub(super) held: Option<Delivery>,
    /// How many questions to ask at a time: more after each success, one after a failure.
    pub(super) questions: usize,
    /// Its queue answers nothing, and is left alone.
    pub(super) stuck: bool,
    /// Until when it is asked like any other; nothing for one that always is.
    warm_until: Option<Instant>,
}

pub(super) enum Hand {
    In,
    Out(Consumer),
    /// It was given a job and has to be withdrawn.
    Full(Consumer),
}

/// Where a delivery came from.
pub(super) struct Source {
    pub(super) queue: String,
    rest_until: Mutex<Option<Instant>>,
}

impl Source {
    /// Has nothing taken from this queue for a moment.
    pub(super) fn rest(&self) {
        *self.rest_until.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Instant::now() + REST);
    }

    /// Until when nothing is taken from it, if that is so at `now`.
    fn rests(&self, now: Instant) -> Option<Instant> {
        let until = *self.rest_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > now)
    }
}

impl Lane {
    /// A lane to `queue` without a hand; one of the `tenants`' is empty most of the time.
    pub(super) fn to(queue: String, tenants: bool) -> Self {
        Self {
            source: Arc::new(Source { queue, rest_until: Mutex::default() }),
            hand: Hand::In,
            held: None,
            questions: 1,
            stuck: false,
            warm_until: tenants.then(Instant::now),
        }
    }

    /// Until when nothing is taken from it, if that is so.
    pub(super) fn rests(&self, now: Instant) -> Option<Instant> {
        self.source.rests(now)
    }

    /// Whether anything is taken from it.
    pub(super) fn is_served(&self, now: Instant) -> bool {
        !self.stuck && self.rests(now).is_none()
    }

    /// Whether it is worth asking: nothing says that it is empty, or the answer costs nothing.
    pub(super) fn is_asked(&self, now: Instant) -> bool {
        self.held.is_some() || self.is_served(now) && (self.is_warm(now) || self.is_out())
    }

    /// Whether somebody has to look into it from time to time, since nobody asks.
    pub(super) fn is_cold(&self, now: Instant) -> bool {
        self.is_served(now) && !self.is_asked(now)
    }

    pub(super) fn is_warm(&self, now: Instant) -> bool {
        self.warm_until.is_none_or(|until| until > now)
    }

    /// There is something in it, or was just now.
    pub(super) fn warm(&mut self, now: Instant) {
        if let Some(until) = &mut self.warm_until {
            *until = now + WARM;
        }
    }

    fn is_out(&self) -> bool {
        !matches!(self.hand, Hand::In)
    }
}
