//! Which worker may run a job, how often, and which result counts.

use sandfleet_common::{JobId, JobState};
use sandfleet_tests::{Backends, claim, eventually, result};
use sandfleet_transport::records::{Claim, Claimed, Committed, Renewed};

use crate::{LONG, SHORT, attempt};

pub(crate) async fn the_first_result_wins(backends: Backends) {
    let job = JobId::generate();
    let (first, second) = (result(&job, "first"), result(&job, "second"));
    assert_eq!(backends.store.commit(&first, "a", LONG).await.expect("stored"), Committed::Stored);
    assert_eq!(
        backends.store.commit(&second, "b", LONG).await.expect("answered"),
        Committed::AlreadyThere
    );
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Done(Box::new(first)));
}

pub(crate) async fn a_lost_answer_to_a_commit_is_no_lost_race(backends: Backends) {
    let result = result(&JobId::generate(), "the only one");
    for _ in 0..2 {
        let committed = backends.store.commit(&result, "a", LONG).await.expect("stored");
        assert_eq!(committed, Committed::Stored);
    }
}

pub(crate) async fn a_lease_keeps_others_away_until_it_ends(backends: Backends) {
    let job = JobId::generate();
    let short = Claim { lease: SHORT, ..claim("a") };
    assert_eq!(attempt(&backends, &job, &short).await, 1);
    match backends.store.claim(&job, &claim("b")).await.expect("answered") {
        Claimed::Busy { lease_left } => assert!(lease_left <= SHORT && !lease_left.is_zero()),
        other => panic!("{other:?} although somebody holds it"),
    }
    let attempt = eventually("the end of the lease", || async {
        match backends.store.claim(&job, &claim("b")).await.expect("answered") {
            Claimed::Busy { .. } => None,
            Claimed::Run { attempt, .. } => Some(attempt),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(attempt, 2);
}

pub(crate) async fn a_renewed_lease_holds_and_only_its_owner_renews_it(backends: Backends) {
    let (kept, lost) = (JobId::generate(), JobId::generate());
    for job in [&kept, &lost] {
        let short = Claim { lease: SHORT, ..claim("a") };
        backends.store.claim(job, &short).await.expect("claimed");
    }
    assert_eq!(backends.store.renew(&kept, "a", LONG, &[]).await.expect("renewed"), Renewed::GoOn);
    backends.store.renew(&lost, "b", LONG, &[]).await.expect("ignored");
    eventually("the end of the lease that its owner didn't renew", || async {
        let state = backends.store.get(&lost).await.expect("read");
        state.is_queued().then_some(())
    })
    .await;
    assert!(backends.store.get(&kept).await.expect("read").is_running());
    // A renewal that comes too late doesn't bring a lease back.
    backends.store.renew(&lost, "a", LONG, &[]).await.expect("ignored");
    assert!(backends.store.get(&lost).await.expect("read").is_queued());
}

pub(crate) async fn a_released_lease_is_free_at_once_and_only_its_owner_releases_it(
    backends: Backends,
) {
    let job = JobId::generate();
    backends.store.claim(&job, &claim("a")).await.expect("claimed");
    backends.store.release(&job, "b").await.expect("ignored");
    assert!(backends.store.get(&job).await.expect("read").is_running());
    backends.store.release(&job, "a").await.expect("released");
    assert_eq!(attempt(&backends, &job, &claim("b")).await, 2);
}

pub(crate) async fn attempts_are_counted_and_run_out(backends: Backends) {
    let job = JobId::generate();
    for number in 1..=3 {
        let owner = format!("owner {number}");
        let alone = number == 3;
        if alone {
            // Not for a worker that would run it beside others, however often it claims.
            for _ in 0..2 {
                let claimed = backends.store.claim(&job, &claim(&owner)).await.expect("answered");
                assert_eq!(claimed, Claimed::LastAttempt);
            }
        }
        let claim = Claim { exclusive: alone, ..claim(&owner) };
        assert_eq!(attempt(&backends, &job, &claim).await, number);
        backends.store.release(&job, &owner).await.expect("released");
    }
    for _ in 0..2 {
        let claimed = backends.store.claim(&job, &claim("late")).await.expect("answered");
        assert_eq!(claimed, Claimed::Exhausted { attempts: 3 });
    }
    assert!(backends.store.get(&job).await.expect("read").is_queued());
}

pub(crate) async fn claiming_again_after_a_lost_answer_counts_once(backends: Backends) {
    let job = JobId::generate();
    for _ in 0..2 {
        assert_eq!(attempt(&backends, &job, &claim("a")).await, 1);
    }
}

pub(crate) async fn a_job_with_a_result_is_not_claimed(backends: Backends) {
    let job = JobId::generate();
    backends.store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
    assert_eq!(backends.store.claim(&job, &claim("b")).await.expect("answered"), Claimed::Done);
}

pub(crate) async fn a_stale_attempt_does_not_replace_the_result(backends: Backends) {
    let job = JobId::generate();
    let short = Claim { lease: SHORT, ..claim("stale") };
    assert_eq!(attempt(&backends, &job, &short).await, 1);
    let second = eventually("the end of the lease", || async {
        match backends.store.claim(&job, &claim("fresh")).await.expect("answered") {
            Claimed::Run { attempt, .. } => Some(attempt),
            _ => None,
        }
    })
    .await;
    assert_eq!(second, 2);
    let fresh = result(&job, "fresh");
    assert_eq!(
        backends.store.commit(&fresh, "fresh", LONG).await.expect("stored"),
        Committed::Stored
    );
    let stale =
        backends.store.commit(&result(&job, "stale"), "stale", LONG).await.expect("answered");
    assert_eq!(stale, Committed::AlreadyThere);
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Done(Box::new(fresh)));
}
