//! Settles deliveries: the only caller of an `AckHandle`; what it does at the broker is in the queue's
//! implementation. Two ends don't come through here: an expired message, which `AmqpQueue::next` moves to the
//! dead letters, and a delivery that was dropped, which goes back to its queue.

use sandfleet_common::PrintableText;
use tracing::{debug, warn};

use super::Delivery;

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Its result is stored, by this worker or another.
    Done,
    /// It goes back to the queue.
    Requeue,
    /// Others of its tenant have to end first: it goes to the end of its queue at once.
    Postpone,
    /// It is put off, since this worker can't take it: it waits apart from its queue, longer each time, and
    /// then comes back to it.
    Later,
    /// It can't be answered, because it names no job or its id is another job's: it goes to the queue
    /// of unreadable messages, and not to the dead letters, which are answered.
    Unreadable(PrintableText),
}

impl Settlement {
    /// What it is called in spans.
    pub fn as_str(&self) -> &'static str {
        match self {
            Settlement::Done => "ack",
            Settlement::Requeue => "requeue",
            Settlement::Postpone => "postpone",
            Settlement::Later => "put_off",
            Settlement::Unreadable(_) => "set_aside",
        }
    }
}

/// Settles `delivery`.
///
/// A settlement that doesn't reach the broker is no failure of the job: the broker delivers it
/// again, the store says that it has its result, and it is settled then. Gives back whether it did.
pub async fn settle(delivery: Delivery, settlement: Settlement) -> bool {
    let Delivery { body, ack_handle, .. } = delivery;
    let settled = match &settlement {
        Settlement::Done => ack_handle.ack(body).await,
        Settlement::Requeue => ack_handle.requeue(body).await,
        Settlement::Postpone => ack_handle.postpone(body).await,
        Settlement::Later => ack_handle.later(body).await,
        Settlement::Unreadable(reason) => ack_handle.set_aside(body, reason).await,
    };
    if let Settlement::Unreadable(reason) = &settlement
        && settled.is_ok()
    {
        warn!(%reason, "a message can't be answered; it is in the queue of unreadable messages");
    }
    let is_settled = settled.is_ok();
    if let Err(error) = settled {
        debug!(%error, ?settlement, "settlement was lost; the broker will deliver the job again");
    }
    is_settled
}
