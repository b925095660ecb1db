//! From what a job costs to what a fleet needs.

use std::time::Duration;

use sandfleet_sdk::ClientConfig;

use crate::costs::{
    BROKER_MESSAGE, CLUSTER_RATE, COLD_PRINT, FIGURES, Figure, HOST_CORES, MESSAGE, PATH, POLL,
    QUEUE_RATE, RECORD, REDIS_CPU, REDIS_LOG, REDIS_TRAFFIC, REPLICATION, RESULT, USE, WARM_PRINT,
    WARM_TABLE, WORKER_RATE,
};

/// Jobs a second.
const RATES: [f64; 3] = [1e3, 1e4, 1e5];
/// For results that are fetched at once, and jobs that are not submitted again later.
const SHORT_RESULT_TTL: Duration = Duration::from_secs(600);
const SHORT_JOB_TTL: Duration = Duration::from_secs(3600);
/// Polls of empty queues, a second.
const POLLS: f64 = 2.0;

/// The workers that one kind of job needs.
#[derive(Debug, PartialEq)]
struct Workers {
    cores: f64,
    hosts: f64,
    /// On each host.
    workers: f64,
}

/// What a rate of jobs needs.
#[derive(Debug)]
struct Plan {
    cold_print: Workers,
    warm_print: Workers,
    warm_table: Workers,
    queues: f64,
    broker_cores: f64,
    clusters: f64,
    redis_servers: f64,
    /// Bytes, with the times to live that are the default.
    memory: f64,
    /// Bytes, with the short ones.
    short_memory: f64,
    /// Bytes a second.
    log: f64,
    /// Bits a second, of all brokers and all stores.
    network: f64,
    cells: f64,
}

/// How many of something that carries `limit` are needed for `load`.
fn needed(load: f64, limit: f64) -> f64 {
    (load / (limit * USE.value)).ceil()
}

fn workers(rate: f64, cost: Figure) -> Workers {
    let cores = rate * (cost.value + PATH.value) / 1000.0 / USE.value;
    let hosts = (cores / HOST_CORES.value).ceil();
    Workers { cores, hosts, workers: needed(rate / hosts, WORKER_RATE.value) }
}

fn memory(rate: f64, result_ttl: Duration, dedup_ttl: Duration) -> f64 {
    rate * (RESULT.value * result_ttl.as_secs_f64() + RECORD.value * dedup_ttl.as_secs_f64())
}

/// What `rate` jobs a second need.
fn plan(rate: f64) -> Plan {
    let defaults = ClientConfig::default();
    let warm_print = workers(rate, WARM_PRINT);
    let busy = warm_print.hosts * warm_print.workers;
    let messages = rate * BROKER_MESSAGE.value * REPLICATION.value;
    let broker_cores = (messages + busy * POLLS * POLL.value) / 1000.0 / USE.value;
    let clusters = needed(rate, CLUSTER_RATE.value);
    let redis_servers = needed(rate * REDIS_CPU.value, 1000.0);
    // To the broker, to two followers, to the worker; and what goes to and from Redis.
    let bytes = 4.0 * MESSAGE.value + REDIS_TRAFFIC.value;
    Plan {
        cold_print: workers(rate, COLD_PRINT),
        warm_table: workers(rate, WARM_TABLE),
        queues: needed(rate, QUEUE_RATE.value),
        broker_cores,
        clusters,
        redis_servers,
        memory: memory(rate, defaults.result_ttl, defaults.dedup_ttl),
        short_memory: memory(rate, SHORT_RESULT_TTL, SHORT_JOB_TTL),
        log: rate * REDIS_LOG.value,
        network: rate * bytes * 8.0,
        // A fleet has one address of a broker, and one of a store.
        cells: clusters.max(redis_servers),
        warm_print,
    }
}

/// The tables of `docs/scaling.md`.
pub(crate) fn markdown() -> String {
    let mut text = "| figure | | from |\n|---|---|---|\n".to_owned();
    for Figure { what, value, unit, source } in FIGURES {
        text += &format!("| {what} | {} {unit} | {source} |\n", short(value));
    }
    let plans = RATES.map(plan);
    text += "\n| | 10³ jobs/s | 10⁴ jobs/s | 10⁵ jobs/s |\n|---|---|---|---|\n";
    for (name, cell) in LINES {
        let [one, two, three] = [0, 1, 2].map(|index| cell(&plans[index]));
        text += &format!("| {name} | {one} | {two} | {three} |\n");
    }
    text
}

type Line = (&'static str, fn(&Plan) -> String);

const LINES: [Line; 11] = [
    ("print, cold: cores, hosts × workers", |plan| plan.cold_print.text()),
    ("print, warm: cores, hosts × workers", |plan| plan.warm_print.text()),
    ("CSV and groupby, warm: cores, hosts × workers", |plan| plan.warm_table.text()),
    ("quorum queues with jobs, at least", |plan| short(plan.queues)),
    ("broker cores, three replicas, warm print's workers", |plan| short(plan.broker_cores)),
    ("clusters of three brokers with 16 vCPUs", |plan| short(plan.clusters)),
    ("Redis servers, by their one core", |plan| short(plan.redis_servers)),
    ("Redis memory: default times to live; 10 min and 1 h", |plan| {
        format!("{}; {}", bytes(plan.memory), bytes(plan.short_memory))
    }),
    ("append-only file", |plan| format!("{}/s", bytes(plan.log))),
    ("network, all brokers and stores", |plan| format!("{:.2} Gbit/s", plan.network / 1e9)),
    ("**cells**", |plan| format!("**{}**", short(plan.cells))),
];

impl Workers {
    fn text(&self) -> String {
        format!("{}, {} × {}", short(self.cores), short(self.hosts), short(self.workers))
    }
}

/// With three digits at most that count, and commas.
fn short(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.1}");
        let text = if value < 1.0 { format!("{value:.2}") } else { text };
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let step = 10f64.powi(value.log10() as i32 - 2);
    let digits = format!("{:.0}", (value / step).round() * step);
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(value: f64) -> String {
    let (divisor, unit) = match value {
        value if value >= 1e12 => (1e12, "TB"),
        value if value >= 1e9 => (1e9, "GB"),
        _ => (1e6, "MB"),
    };
    format!("{} {unit}", short(value / divisor))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_page_has_what_the_code_says() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(top.join("docs/scaling.md")).expect("the page is there");
        let parts = page.split_once("<!-- plan -->\n").and_then(|(_, rest)| {
            let (table, _) = rest.split_once("<!-- /plan -->")?;
            Some(table.trim().to_owned())
        });
        let made = markdown();
        let table = parts.expect("the page has its marks");
        assert_eq!(table, made.trim(), "put this between the marks of docs/scaling.md:\n{made}");
    }

    #[test]
    fn ten_times_the_jobs_need_ten_times_as_much_of_what_is_not_whole() {
        let (small, large) = (plan(1e3), plan(1e4));
        for (one, ten) in [
            (small.cold_print.cores, large.cold_print.cores),
            (small.memory, large.memory),
            (small.log, large.log),
            (small.network, large.network),
        ] {
            assert!((ten / one - 10.0).abs() < 1e-9, "{one} and {ten}");
        }
        assert!(large.cells >= small.cells && large.queues > small.queues);
    }

    #[test]
    fn what_is_planned_is_not_overloaded() {
        for rate in RATES {
            let plan = plan(rate);
            let used = |workers: &Workers, cost: Figure| {
                let cores = workers.hosts * HOST_CORES.value;
                rate * (cost.value + PATH.value) / 1000.0 / cores
            };
            assert!(used(&plan.cold_print, COLD_PRINT) <= USE.value);
            assert!(used(&plan.warm_table, WARM_TABLE) <= USE.value);
            let each = rate / plan.warm_print.hosts / plan.warm_print.workers;
            assert!(each <= USE.value * WORKER_RATE.value, "{each} jobs/s for a worker");
            let cell = rate / plan.cells;
            assert!(cell <= USE.value * CLUSTER_RATE.value);
            assert!(cell * REDIS_CPU.value <= USE.value * 1000.0);
        }
    }

    #[test]
    fn figures_are_short() {
        let texts = [0.256, 3.2, 43.21, 100.0, 690.0, 37_000.0, 123_456.0].map(short);
        assert_eq!(texts, ["0.26", "3.2", "43.2", "100", "690", "37,000", "123,000"]);
        assert_eq!([bytes(2.5e6), bytes(1.26e12)], ["2.5 MB", "1.3 TB"]);
    }
}
