use std::sync::atomic::Ordering;

use futures_util::FutureExt;

use super::*;
use crate::sandbox::{fake::FakeSandbox, smallest_plan};

/// Long enough never to be over in a test.
const EVER: Duration = Duration::from_secs(3600);

fn watched(pace: Pace) -> (Arc<FakeSandbox>, HealthTracked) {
    let fragile = Arc::new(FakeSandbox::default());
    let memory = Arc::new(HostMemory::new("/nowhere", 1));
    (fragile.clone(), HealthTracked::with_pace(fragile, memory, pace))
}

async fn runs(watched: &HealthTracked) -> bool {
    watched.run(&smallest_plan(), &|_, _| ()).await.is_ok()
}

#[tokio::test]
async fn a_sandbox_that_failed_is_away_until_a_program_has_run_in_it() {
    let at_once = Duration::ZERO;
    let (fragile, watched) = watched(Pace { first_pause: at_once, longest_pause: at_once, ..PACE });
    assert!(runs(&watched).await);
    assert!(watched.check().await.is_ok());
    assert_eq!(fragile.runs.load(Ordering::Relaxed), 1, "no proof is asked for");

    fragile.is_broken.store(true, Ordering::Relaxed);
    assert!(!runs(&watched).await);
    assert!(watched.check().await.is_err(), "though it answers");

    fragile.is_broken.store(false, Ordering::Relaxed);
    assert!(watched.check().await.is_ok());
    let runs = fragile.runs.load(Ordering::Relaxed);
    assert!(watched.check().await.is_ok());
    assert_eq!(fragile.runs.load(Ordering::Relaxed), runs, "proved once");
}

#[tokio::test]
async fn a_job_that_ran_after_a_failure_is_proof_enough() {
    let (fragile, watched) = watched(PACE);
    fragile.is_broken.store(true, Ordering::Relaxed);
    assert!(!runs(&watched).await);
    fragile.is_broken.store(false, Ordering::Relaxed);
    assert!(runs(&watched).await);
    assert!(watched.check().await.is_ok());
    assert_eq!(fragile.runs.load(Ordering::Relaxed), 2, "no proof was needed");
}

#[tokio::test]
async fn one_probe_hangs_whoever_asks_and_however_often() {
    let answer = Duration::from_millis(5);
    let (fragile, watched) = watched(Pace { answer, probe: EVER, ..PACE });
    fragile.is_broken.store(true, Ordering::Relaxed);
    assert!(!runs(&watched).await);
    fragile.hangs.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        // Scrapes that give up.
        for _ in 0..5 {
            assert!(watched.check().now_or_never().is_none(), "none is answered at once");
        }
        let error = watched.check().await.expect_err("it hangs").to_string();
        assert!(error.contains("stuck") && error.contains("it has been tried for"), "{error}");
    }
    assert_eq!(fragile.runs.load(Ordering::Relaxed), 2, "the job, and one probe");
}

#[tokio::test]
async fn a_probe_that_never_ends_is_given_up_and_others_wait_their_time() {
    let pace = Pace {
        answer: EVER,
        probe: Duration::from_millis(5),
        first_pause: EVER,
        longest_pause: EVER,
    };
    let (fragile, watched) = watched(pace);
    fragile.is_broken.store(true, Ordering::Relaxed);
    assert!(!runs(&watched).await);
    fragile.hangs.store(true, Ordering::Relaxed);
    let error = watched.check().await.expect_err("it hangs").to_string();
    assert!(error.contains("no end in"), "{error}");
    for _ in 0..100 {
        let error = watched.check().await.expect_err("it is too early").to_string();
        assert!(error.contains("it is tried again in"), "{error}");
    }
    assert_eq!(fragile.runs.load(Ordering::Relaxed), 2, "the job, and one probe");
}

#[tokio::test]
async fn pauses_between_probes_that_fail_double() {
    let (fragile, watched) = watched(PACE);
    fragile.is_broken.store(true, Ordering::Relaxed);
    assert!(!runs(&watched).await);
    for seconds in [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0] {
        watched.shared.health().not_before = None;
        assert!(watched.check().await.is_err());
        assert_eq!(watched.shared.health().pause.as_secs_f64(), seconds);
    }
    assert_eq!(fragile.runs.load(Ordering::Relaxed), 8, "the job, and seven probes");
}
