//! Jobs whose time is over before they are started.

use std::time::Duration;

use jiff::Timestamp;
use sandfleet_common::{JobId, JobState};
use sandfleet_tests::{Backends, eventually};
use sandfleet_transport::records::{Claim, Claimed};

use crate::state::submitted;
use crate::{LONG, SHORT, attempt, claim};

/// A time that many hours from now, as a producer's wrong clock would say.
fn hours_from_now(hours: i64) -> Option<Timestamp> {
    Some(Timestamp::now() + jiff::SignedDuration::from_hours(hours))
}

pub(crate) async fn a_job_expires_by_the_stores_clock_whatever_its_message_says(
    backends: Backends,
) {
    for hours in [-1, 1] {
        let (fresh, old) = (submitted(&backends).await.job_id, submitted(&backends).await.job_id);
        // An hour by the message's clock: not yet over, or long over.
        let wrong = Claim { ttl: Some(LONG), queued_at: hours_from_now(hours), ..claim("a") };
        assert_eq!(attempt(&backends, &fresh, &wrong).await, 1);
        let brief = Claim { ttl: Some(SHORT), ..wrong };
        let (waited, limit) = eventually("the end of its time", || async {
            // Another job each time would be needed if it could be claimed.
            let state = backends.store.get(&old).await.expect("read");
            let JobState::Queued(queued) = state else { panic!("{state:?}") };
            let since = queued.queued_at.expect("written down").duration_until(Timestamp::now());
            if since <= jiff::SignedDuration::try_from(SHORT * 2).expect("short") {
                return None;
            }
            match backends.store.claim(&old, &brief).await.expect("answered") {
                Claimed::Expired { waited, limit } => Some((waited, limit)),
                other => panic!("{other:?} of a job that has waited {since}"),
            }
        })
        .await;
        assert!(limit == SHORT && waited > SHORT && waited < LONG, "{waited:?} of {limit:?}");
    }
}

pub(crate) async fn a_job_that_nobody_wrote_down_expires_by_its_messages_time(backends: Backends) {
    let claimed = async |hours| {
        let claim = Claim { ttl: Some(LONG), queued_at: hours_from_now(hours), ..claim("a") };
        backends.store.claim(&JobId::generate(), &claim).await.expect("answered")
    };
    assert!(matches!(claimed(-1).await, Claimed::Expired { limit: LONG, .. }));
    assert!(matches!(claimed(1).await, Claimed::Run { attempt: 1, waited: Duration::ZERO }));
}

pub(crate) async fn a_job_that_was_started_in_time_does_not_expire(backends: Backends) {
    let job = JobId::generate();
    let first = Claim { ttl: Some(LONG), queued_at: Some(Timestamp::now()), ..claim("a") };
    assert_eq!(attempt(&backends, &job, &first).await, 1);
    backends.store.release(&job, "a").await.expect("released");
    let later = Claim { ttl: Some(Duration::from_nanos(1)), ..claim("b") };
    assert_eq!(attempt(&backends, &job, &later).await, 2);
}
