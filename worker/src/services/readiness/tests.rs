//! What becomes of what components say.

use std::sync::Mutex;

use sandfleet_transport::Refusal;
use tokio::time::timeout;

use super::*;

/// A component whose answer can be changed, and what watches it.
struct FakeComponents {
    answer: Arc<Mutex<Answer>>,
    readiness: Arc<Readiness>,
    able: watch::Receiver<bool>,
}

impl FakeComponents {
    fn with(name: &'static str, answer: Answer, patience: Duration) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let said = Arc::clone(&answer);
        let component = Component::new(name, move || {
            let said = said.lock().unwrap().clone();
            async move { said }
        });
        let metrics = Arc::new(Metrics::new(1, ["python"], 0).unwrap());
        let able = watch::Sender::new(false);
        let receiver = able.subscribe();
        let changed = Arc::new(Notify::new());
        let readiness = Readiness::new(vec![component], metrics, patience, (changed, able));
        Self { answer, readiness: Arc::new(readiness), able: receiver }
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
        self.readiness.changed.notify_one();
    }
}

fn refused(refusal: Refusal) -> Answer {
    Err(Trouble { refusal: Some(refusal), ..Trouble::from("no") })
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_worker_is_ready_once_it_serves_and_while_all_works() {
    let watched = FakeComponents::with("store", Ok(None), LONG);
    let (readiness, shutdown) = (Arc::clone(&watched.readiness), Shutdown::default());
    let mut ready = readiness.ready();
    let watching = tokio::spawn(Arc::clone(&readiness).watch(shutdown.clone()));
    timeout(LONG, readiness.works()).await.unwrap();
    assert!(!*ready.borrow(), "it does not serve yet");
    readiness.serve().await;
    assert!(*ready.borrow_and_update());
    watched.says(Err("away".into()));
    timeout(LONG, ready.wait_for(|ready| !ready)).await.unwrap().unwrap();
    watched.says(Ok(None));
    timeout(LONG, ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
    shutdown.drain();
    timeout(LONG, ready.wait_for(|ready| !ready)).await.unwrap().unwrap();
    shutdown.abort();
    timeout(LONG, watching).await.unwrap().unwrap();
}

#[tokio::test]
async fn jobs_are_wanted_while_all_but_the_broker_works() {
    for (name, is_able) in [(BROKER, true), ("store", false)] {
        let watched = FakeComponents::with(name, Err("away".into()), LONG);
        watched.readiness.report().await;
        assert_eq!(*watched.able.borrow(), is_able, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_that_lasts_ends_the_start_and_no_other_answer_does() {
    for (answer, ends) in [
        (refused(Refusal::Access), true),
        (Err("connection refused".into()), false),
        (Err(Trouble::passing("not connected yet")), false),
    ] {
        let watched = FakeComponents::with("store", answer.clone(), SHORT);
        let watching = tokio::spawn(Arc::clone(&watched.readiness).watch(Shutdown::default()));
        let end = timeout(SHORT * 5, watched.readiness.refused()).await;
        assert_eq!(end.ok(), ends.then(|| (Refusal::Access, "no".to_owned())), "{answer:?}");
        watching.abort();
    }
}

#[tokio::test]
async fn another_answer_begins_the_time_anew_and_a_worker_that_was_ready_goes_on() {
    let watched = FakeComponents::with("store", refused(Refusal::Access), SHORT);
    let readiness = &watched.readiness;
    let begun = Instant::now();
    while begun.elapsed() < SHORT * 4 {
        for refusal in [Refusal::Setting, Refusal::Access] {
            watched.says(refused(refusal));
            readiness.look(Duration::ZERO).await;
        }
        sleep(SHORT / 10).await;
    }
    assert!(readiness.refused.borrow().is_none(), "it never refused in one way for so long");
    readiness.serve().await;
    watched.says(refused(Refusal::Access));
    let begun = Instant::now();
    while begun.elapsed() < SHORT * 3 {
        readiness.look(Duration::ZERO).await;
        sleep(SHORT / 10).await;
    }
    assert!(readiness.refused.borrow().is_none(), "it serves");
}
