//! A steady load of jobs, whatever happens meanwhile, and what becomes of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use sandfleet_common::{Job, JobId, JobResult, Priority, names};
use sandfleet_sdk::{Client, Error};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::jobs::Kind;

/// So many are submitted at a time.
const PART: usize = 25;
/// How often is looked for results: as exactly is it known when they came.
const LOOK: Duration = Duration::from_millis(50);
/// How long the last of them may take.
const DRAIN: Duration = Duration::from_secs(240);
/// How long a fleet may take to give results again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Whether it is the short form, `SANDFLEET_TEST_CHAOS=short`: all faults, fewer jobs.
pub(crate) fn is_short() -> bool {
    match std::env::var("SANDFLEET_TEST_CHAOS").as_deref() {
        Ok("short" | "impatient") => true,
        Ok("") | Err(_) => false,
        Ok(other) => {
            panic!("SANDFLEET_TEST_CHAOS is {other:?}: it is \"short\", \"impatient\" or not set")
        }
    }
}

/// How long something is waited for: less by those who expect that it never comes, as when a rule
/// was taken away.
fn patience(full: Duration) -> Duration {
    let is_impatient = std::env::var("SANDFLEET_TEST_CHAOS").is_ok_and(|it| it == "impatient");
    if is_impatient { full / 2 } else { full }
}

/// How often something is done: `full` times, or `short` in the short form.
pub(crate) fn rounds(full: usize, short: usize) -> usize {
    if is_short() { short } else { full }
}

/// What is known about a job.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) job: Job,
    pub(crate) kind: Kind,
    /// Whether the SDK has said that it will have a result.
    pub(crate) accepted: bool,
    /// The first result that was seen, as the store has it, and when.
    pub(crate) seen: Option<(Instant, Vec<u8>)>,
}

/// All jobs.
pub(crate) type Books = BTreeMap<JobId, Entry>;

/// The producers, and the readers of results. At least so many jobs are in flight or wait as
/// [`Load::start`] is told, until [`finish`](Self::finish).
pub(crate) struct Load {
    books: Arc<Mutex<Books>>,
    refusals: Arc<Mutex<Vec<String>>>,
    going: watch::Sender<Going>,
    submitting: JoinHandle<()>,
    looking: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Going {
    On,
    NothingNew,
    Over,
}

impl Load {
    /// Starts to submit jobs as `mix` makes them, of which 200 are always in flight or waiting, 40
    /// in the short form. The results are looked for at `redis_url`.
    pub(crate) fn start(
        client: Client,
        redis_url: &str,
        prefix: &str,
        mix: impl Fn(usize) -> (Kind, Job) + Send + 'static,
    ) -> Self {
        Self::of(client, redis_url, prefix, rounds(200, 40), None, mix)
    }

    /// As [`start`](Self::start), with `depth` jobs in flight, and no more than `most` in all.
    pub(crate) fn of(
        client: Client,
        redis_url: &str,
        prefix: &str,
        depth: usize,
        most: Option<usize>,
        mix: impl Fn(usize) -> (Kind, Job) + Send + 'static,
    ) -> Self {
        let books = Arc::new(Mutex::new(Books::new()));
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let going = watch::Sender::new(Going::On);
        let submitter = Submitter {
            client,
            books: Arc::clone(&books),
            refusals: Arc::clone(&refusals),
            going: going.subscribe(),
            depth,
            most: most.unwrap_or(usize::MAX),
        };
        let watcher = Watcher {
            store: redis::Client::open(redis_url).expect("a valid URL"),
            prefix: prefix.to_owned(),
            books: Arc::clone(&books),
            going: going.subscribe(),
        };
        let submitting = tokio::spawn(submitter.submit(mix));
        let looking = tokio::spawn(watcher.look());
        Self { books, refusals, going, submitting, looking }
    }

    /// What is known at present.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Why submissions failed, which were repeated then.
    pub(crate) fn refusals(&self) -> Vec<String> {
        lock(&self.refusals).clone()
    }

    /// Waits until `count` results were seen.
    pub(crate) async fn has_results(&self, count: usize) {
        self.until(&format!("{count} results"), |books| {
            books.values().filter(|entry| entry.seen.is_some()).count() >= count
        })
        .await;
    }

    /// Waits until `count` jobs were accepted.
    pub(crate) async fn has_accepted(&self, count: usize) {
        self.until(&format!("{count} jobs"), |books| {
            books.values().filter(|entry| entry.accepted).count() >= count
        })
        .await;
    }

    /// Waits until all of `ids` have results.
    pub(crate) async fn have_results(&self, ids: &[JobId]) {
        self.until("the results of some jobs", |books| {
            ids.iter().all(|id| books[id].seen.is_some())
        })
        .await;
    }

    /// Lets a moment pass.
    pub(crate) async fn goes_on(&self) {
        self.stands();
        sleep(LOOK).await;
    }

    /// Submits nothing new, and waits until all jobs have results.
    pub(crate) async fn drained(&self) {
        self.going.send_replace(Going::NothingNew);
        self.until("the last result", |books| {
            books.values().all(|entry| entry.accepted && entry.seen.is_some())
        })
        .await;
    }

    /// How long after `since` the first result was seen: any, or the first by `worker`.
    pub(crate) async fn recovers(&self, since: Instant, worker: Option<&str>) -> Duration {
        let mut found = None;
        self.until("a result after the fault", |books| {
            let later = books.values().filter_map(|entry| entry.seen.as_ref());
            let later = later.filter(|(at, _)| *at > since);
            let theirs = later
                .filter(|(_, json)| worker.is_none_or(|worker| parse(json).worker_id == worker));
            found = theirs.map(|(at, _)| *at - since).min();
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// How long after `since` the first result was seen of a job that is not `known`.
    pub(crate) async fn recovers_with_new(&self, since: Instant, known: &[JobId]) -> Duration {
        let known: BTreeSet<&JobId> = known.iter().collect();
        let mut found = None;
        self.until("a new result after the fault", |books| {
            let new = books.iter().filter(|(id, _)| !known.contains(id));
            found = new.filter_map(|(_, entry)| Some(entry.seen.as_ref()?.0 - since)).min();
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    async fn until(&self, what: &str, mut there: impl FnMut(&Books) -> bool) {
        let patience = patience(RECOVERY);
        let end = Instant::now() + patience;
        while !there(&self.books()) {
            self.stands();
            assert!(Instant::now() < end, "{what}: not within {patience:?}: {}", self.summary());
            sleep(LOOK / 2).await;
        }
    }

    /// A load that ended by itself shows why.
    fn stands(&self) {
        assert!(!self.looking.is_finished(), "nobody looks for results any more");
    }

    fn summary(&self) -> String {
        let books = self.books();
        let (seen, all) = (books.values().filter(|it| it.seen.is_some()).count(), books.len());
        format!("{seen} results of {all} jobs; refusals: {:?}", self.refusals().last())
    }

    /// Submits nothing new, waits until every job is accepted and has a result, and gives all that
    /// is known. What has none after four minutes never will.
    pub(crate) async fn finish(self) -> Books {
        self.going.send_replace(Going::NothingNew);
        let end = Instant::now() + patience(DRAIN);
        timeout(patience(DRAIN), self.submitting)
            .await
            .expect("all is accepted")
            .expect("it submits");
        while Instant::now() < end && lock(&self.books).values().any(|it| it.seen.is_none()) {
            sleep(LOOK).await;
        }
        self.going.send_replace(Going::Over);
        self.looking.await.expect("it looks");
        std::mem::take(&mut *lock(&self.books))
    }
}

struct Submitter {
    client: Client,
    books: Arc<Mutex<Books>>,
    refusals: Arc<Mutex<Vec<String>>>,
    going: watch::Receiver<Going>,
    depth: usize,
    most: usize,
}

impl Submitter {
    /// What a careful producer does: whatever isn't known to be accepted is submitted again.
    async fn submit(self, mix: impl Fn(usize) -> (Kind, Job)) {
        let mut waiting: Vec<Job> = Vec::new();
        let mut made = 0;
        loop {
            if waiting.is_empty() {
                if *self.going.borrow() != Going::On || made >= self.most {
                    return;
                }
                let open = lock(&self.books).values().filter(|it| it.seen.is_none()).count();
                if open >= self.depth {
                    sleep(LOOK / 2).await;
                    continue;
                }
                for _ in 0..PART.min(self.most - made) {
                    let (kind, mut job) = mix(made);
                    job.tenant = (made % 3 > 0).then(|| format!("tenant-{}", made % 5));
                    let batch = made.is_multiple_of(4);
                    job.priority = if batch { Priority::Batch } else { Priority::Interactive };
                    let entry = Entry { job: job.clone(), kind, accepted: false, seen: None };
                    lock(&self.books).insert(job.job_id.clone(), entry);
                    waiting.push(job);
                    made += 1;
                }
            }
            let outcomes = self.client.submit_batch(&waiting).await;
            let mut again = Vec::new();
            for (job, outcome) in waiting.into_iter().zip(outcomes) {
                match outcome {
                    Ok(id) => lock(&self.books).get_mut(&id).expect("ours").accepted = true,
                    Err(
                        error @ (Error::Broker { .. }
                        | Error::TimedOut { .. }
                        | Error::Blocked { .. }
                        | Error::Store { .. }),
                    ) => {
                        lock(&self.refusals).push(error.to_string());
                        again.push(job);
                    }
                    Err(error) => panic!("no fault of the services: {error}"),
                }
            }
            waiting = again;
            if !waiting.is_empty() {
                sleep(LOOK * 2).await;
            }
        }
    }
}

struct Watcher {
    store: redis::Client,
    prefix: String,
    books: Arc<Mutex<Books>>,
    going: watch::Receiver<Going>,
}

impl Watcher {
    /// A store that is away is asked again later.
    async fn look(self) {
        let mut connection = None;
        while *self.going.borrow() != Going::Over {
            sleep(LOOK).await;
            let open = without_result(&lock(&self.books));
            let Some(results) = self.read(&mut connection, &open).await else {
                connection = None;
                continue;
            };
            let now = Instant::now();
            let mut books = lock(&self.books);
            for (id, json) in open.into_iter().zip(results) {
                if let Some(json) = json {
                    books.get_mut(&id).expect("ours").seen = Some((now, json));
                }
            }
        }
    }

    async fn read(
        &self,
        connection: &mut Option<MultiplexedConnection>,
        ids: &[JobId],
    ) -> Option<Vec<Option<Vec<u8>>>> {
        const PATIENCE: Duration = Duration::from_secs(2);
        if connection.is_none() {
            let connecting = self.store.get_multiplexed_async_connection();
            *connection = timeout(PATIENCE, connecting).await.ok()?.ok();
        }
        timeout(PATIENCE, results(connection.as_mut()?, &self.prefix, ids)).await.ok()?.ok()
    }
}

/// The jobs of which no result was seen yet.
pub(crate) fn without_result(books: &Books) -> Vec<JobId> {
    books.iter().filter(|(_, it)| it.seen.is_none()).map(|(id, _)| id.clone()).collect()
}

/// The results of jobs, as far as there are any.
pub(crate) async fn results(
    store: &mut MultiplexedConnection,
    prefix: &str,
    ids: &[JobId],
) -> redis::RedisResult<Vec<Option<Vec<u8>>>> {
    let mut results = Vec::with_capacity(ids.len());
    for part in ids.chunks(500) {
        let keys: Vec<String> = part.iter().map(|id| names::result_key(prefix, id)).collect();
        let part: Vec<Option<Vec<u8>>> = redis::cmd("MGET").arg(keys).query_async(store).await?;
        results.extend(part);
    }
    Ok(results)
}

/// A result as the store has it.
pub(crate) fn parse(json: &[u8]) -> JobResult {
    serde_json::from_slice(json).expect("a result")
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
