//! What a job costs, with the source of each figure.

/// A figure that the plan is computed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) source: &'static str,
}

pub(crate) const COLD_PRINT: Figure = Figure {
    what: "print, cold: worker's host",
    value: 36.6,
    unit: "CPU ms/job",
    source: "`tests/run bench`: print, 2 at a time; native, cold, python3 main.py; machine",
};
pub(crate) const WARM_PRINT: Figure = Figure {
    what: "print, warm: worker's host",
    value: 9.1,
    unit: "CPU ms/job",
    source: "`tests/run bench`: print, 2 at a time; native, warm; machine",
};
pub(crate) const WARM_TABLE: Figure = Figure {
    what: "CSV and groupby, warm: worker's host",
    value: 40.0,
    unit: "CPU ms/job",
    source: "`tests/run bench`: data, groupby, 2 at a time; native, warm; machine",
};
pub(crate) const PATH: Figure = Figure {
    what: "queue and store, the worker's and the producer's part",
    value: 1.3,
    unit: "CPU ms/job",
    source: "`tests/run bench`: own, of RabbitMQ, worker, Redis, warm less native, warm",
};
pub(crate) const WORKER_RATE: Figure = Figure {
    what: "one worker takes at most",
    value: 690.0,
    unit: "jobs/s",
    source: "[tenants.md](decisions/tenants.md): 64 slots, a debug build on busy cores",
};
pub(crate) const POLL: Figure = Figure {
    what: "a busy worker's poll of its empty queues, twice a second",
    value: 3.0,
    unit: "broker CPU ms",
    source: "[tenants.md](decisions/tenants.md): 32 queues in 3 ms",
};
pub(crate) const BROKER_MESSAGE: Figure = Figure {
    what: "a message in the broker, from publish to ack",
    value: 0.2,
    unit: "CPU ms",
    source: "measured under load, one replica: 0.1 to 0.2 ms",
};
pub(crate) const REPLICATION: Figure = Figure {
    what: "the broker's work with three replicas",
    value: 2.0,
    unit: "times one",
    source: "assumed: a follower costs half as much as the leader",
};
pub(crate) const QUEUE_RATE: Figure = Figure {
    what: "one quorum queue",
    value: 5000.0,
    unit: "messages/s",
    source: "measured on 2 shared cores: 5,000 to 7,500 at prefetch 8",
};
pub(crate) const CLUSTER_RATE: Figure = Figure {
    what: "three brokers of 16 vCPUs, three replicas",
    value: 37_000.0,
    unit: "messages/s",
    source: "[published](https://www.rabbitmq.com/blog/2020/06/21/cluster-sizing-case-study-quorum-queues-part-1): 100 queues, 1 KB",
};
pub(crate) const REDIS_CPU: Figure = Figure {
    what: "a job in Redis",
    value: 0.17,
    unit: "CPU ms/job",
    source: "`tests/run scaling`: Redis, saturated; without subscriptions",
};
pub(crate) const REDIS_TRAFFIC: Figure = Figure {
    what: "a job in Redis, both ways",
    value: 6000.0,
    unit: "bytes on the wire",
    source: "`tests/run scaling`: calibration",
};
pub(crate) const REDIS_LOG: Figure = Figure {
    what: "a job in Redis's append-only file",
    value: 2740.0,
    unit: "bytes",
    source: "`tests/run scaling`: calibration",
};
pub(crate) const RESULT: Figure = Figure {
    what: "a small result in Redis, for `store.result_ttl_ms`",
    value: 1160.0,
    unit: "bytes of memory",
    source: "`tests/run scaling`: MEMORY USAGE",
};
pub(crate) const RECORD: Figure = Figure {
    what: "a job's record in Redis, for `store.dedup_ttl_ms`",
    value: 832.0,
    unit: "bytes of memory",
    source: "`tests/run scaling`: MEMORY USAGE",
};
pub(crate) const MESSAGE: Figure = Figure {
    what: "a small job's message with its frames",
    value: 700.0,
    unit: "bytes on the wire",
    source: "its JSON and properties, counted",
};
pub(crate) const USE: Figure = Figure {
    what: "planned utilisation",
    value: 0.65,
    unit: "of the limit",
    source: "chosen: above 0.8 latencies grow steeply, and hosts fail",
};
pub(crate) const HOST_CORES: Figure =
    Figure { what: "a worker's host", value: 32.0, unit: "cores", source: "chosen" };

/// All of them, in the order of the page.
pub(crate) const FIGURES: [Figure; 18] = [
    COLD_PRINT,
    WARM_PRINT,
    WARM_TABLE,
    PATH,
    WORKER_RATE,
    POLL,
    BROKER_MESSAGE,
    REPLICATION,
    QUEUE_RATE,
    CLUSTER_RATE,
    REDIS_CPU,
    REDIS_TRAFFIC,
    REDIS_LOG,
    RESULT,
    RECORD,
    MESSAGE,
    USE,
    HOST_CORES,
];
