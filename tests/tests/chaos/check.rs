//! What has to be true after every fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sandfleet_common::{JobId, names};
use sandfleet_tests::{LeakCheck, Services, eventually};

use crate::{
    fleet::Fleet,
    load::{Load, parse, results},
};

/// What came of a load: one line of the matrix.
#[derive(Debug)]
pub(crate) struct Row {
    /// How many jobs were accepted.
    pub(crate) jobs: usize,
    /// Those that were started more than once, and how often.
    pub(crate) repeated: BTreeMap<JobId, u32>,
    lost: Vec<JobId>,
    changed: Vec<JobId>,
    wrong: Vec<String>,
    leak_check: BTreeSet<String>,
}

impl Row {
    /// How many starts there were beyond the first of each job.
    pub(crate) fn repeats(&self) -> usize {
        self.repeated.values().map(|starts| *starts as usize - 1).sum()
    }
}

/// Ends a load and its fleet, prints the row, and checks it: every job that was accepted has one
/// result with the right content, which is the one that was seen first; nothing is in a queue or
/// among the dead letters, every start was counted, and nothing is left on this host.
pub(crate) async fn conclude(
    fault: &str,
    load: Load,
    fleet: Fleet<'_>,
    services: &Services,
    leak_check: &LeakCheck<'_>,
    recovery: Duration,
) -> Row {
    let refusals = load.refusals();
    let books = load.finish().await;
    eventually("the end of all messages", || async { (messages(services) == 0).then_some(()) })
        .await;
    fleet.stop_all().await;

    let ids: Vec<JobId> = books.keys().cloned().collect();
    let mut store = services.redis().await;
    let now = results(&mut store, &services.prefix, &ids).await.expect("the store runs");
    let starts = starts(services, &ids).await;
    let mut row = Row {
        jobs: books.values().filter(|entry| entry.accepted).count(),
        repeated: BTreeMap::new(),
        lost: Vec::new(),
        changed: Vec::new(),
        wrong: Vec::new(),
        leak_check: leak_check.left().await,
    };
    for (((id, entry), now), starts) in books.into_iter().zip(now).zip(starts) {
        if starts > 1 {
            row.repeated.insert(id.clone(), starts);
        }
        let (Some((_, first)), Some(now)) = (entry.seen, now) else {
            row.lost.push(id);
            continue;
        };
        if first != now {
            row.changed.push(id.clone());
        }
        let result = parse(&now);
        row.wrong.extend(entry.kind.objects_to(&result));
        if !(1..=starts).contains(&result.attempt) {
            let attempt = result.attempt;
            row.wrong.push(format!("{id}: attempt {attempt}, but it was started {starts} times"));
        }
    }
    println!(
        "{fault} | {} | {} | {} | {} | {} | {:.1}",
        row.jobs,
        row.lost.len(),
        row.changed.len(),
        row.repeated.len(),
        row.leak_check.len(),
        recovery.as_secs_f64()
    );
    if let Some(last) = refusals.last() {
        println!("  {} submissions failed and were repeated; the last: {last}", refusals.len());
    }
    assert!(row.lost.is_empty(), "{fault}: lost {:#?}", row.lost);
    assert!(row.changed.is_empty(), "{fault}: changed {:#?}", row.changed);
    assert!(row.wrong.is_empty(), "{fault}: wrong {:#?}", row.wrong);
    assert!(row.leak_check.is_empty(), "{fault}: left behind {:#?}", row.leak_check);
    assert_eq!(messages(services), 0, "{fault}: messages in the queues");
    assert_eq!(services.dead_letter().await, None, "{fault}");
    row
}

/// How many messages the queues have, unacknowledged ones included.
pub(crate) fn messages(services: &Services) -> usize {
    count(services, "query_messages_total")
}

/// How many messages the broker has given to workers and not heard of again.
pub(crate) fn unacknowledged(services: &Services) -> usize {
    count(services, "query_messages_checked_out")
}

/// Asks the queues themselves: what `list_queues` says of them is seconds old.
fn count(services: &Services, query: &str) -> usize {
    let prefix = &services.prefix;
    let sum = services.rabbitmqctl(&[
        "eval",
        &format!(
            "lists:sum([begin {{ok, N, _}} = ra:consistent_query(amqqueue:get_pid(Q), \
             fun rabbit_fifo:{query}/1), N end || Q <- rabbit_amqqueue:list(), \
             lists:prefix(\"{prefix}\", binary_to_list(element(4, amqqueue:get_name(Q))))])."
        ),
    ]);
    sum.trim().parse().unwrap_or_else(|_| panic!("no number: {sum:?}"))
}

/// How often each job was claimed.
async fn starts(services: &Services, ids: &[JobId]) -> Vec<u32> {
    let mut pipeline = redis::pipe();
    for id in ids {
        pipeline.cmd("HGET").arg(names::record_key(&services.prefix, id)).arg("attempts");
    }
    let starts: Vec<Option<u32>> =
        pipeline.query_async(&mut services.redis().await).await.expect("the store runs");
    starts.into_iter().map(Option::unwrap_or_default).collect()
}
