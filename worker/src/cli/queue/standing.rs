//! What the store says of the job of a message.

use sandfleet_common::{JobState, PrintableText};
use sandfleet_transport::{Error, records::RedisStore};

use super::summary::Payload;

/// What the store says of a message's job.
pub(super) enum Standing {
    /// The message names no job.
    NoJob,
    /// Another job has the id.
    Twin,
    /// It.
    Job(Box<JobState>),
    /// The store can't be read.
    Unknown(Error),
}

pub(super) async fn standing(store: &RedisStore, payload: &Payload) -> Standing {
    let Some(job) = &payload.job_id else { return Standing::NoJob };
    match store.payload_of(job).await {
        Ok(Some(known)) if known != payload.digest => return Standing::Twin,
        Ok(_) => {}
        Err(error) => return Standing::Unknown(error.into()),
    }
    match store.get(job).await {
        Ok(state) => Standing::Job(Box::new(state)),
        Err(error) => Standing::Unknown(error),
    }
}

impl Standing {
    pub(super) fn sentence(&self) -> String {
        match self {
            Standing::NoJob => "no job: the message names none".into(),
            Standing::Twin => "another job has this id: its payload differs".into(),
            Standing::Unknown(error) => format!("not known: {}", PrintableText::new(error)),
            Standing::Job(state) => match state.as_ref() {
                JobState::Done(result) => {
                    format!("has its result: {}: {}", result.status, result.message)
                }
                JobState::ResultExpired(status) => {
                    format!("had its result ({status}), which is not kept any more")
                }
                JobState::Running(running) => {
                    format!("runs on worker {}", PrintableText::new(&running.worker_id))
                }
                JobState::Queued(queued) => {
                    format!("waits for its result; starts so far: {}", queued.attempts)
                }
                JobState::Unknown => "not known to the store".into(),
            },
        }
    }
}
