//! What a job costs, and where each figure is from.

/// A figure that the plan is computed from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) source: &'static str,
}

/// What one job does in the broker and the store at one step of its path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) step: &'static str,
    /// Where the code is.
    pub(crate) place: &'static str,
    /// AMQP methods, either way.
    pub(crate) amqp: u32,
    /// Commands that clients send to Redis: each a round trip, scripts counted once.
    pub(crate) commands: u32,
    /// What Redis executes for that, the insides of scripts.
    pub(crate) executed: u32,
    /// Of these, what it writes down in its append-only file.
    pub(crate) writes: u32,
}

const fn operation(
    step: &'static str,
    place: &'static str,
    amqp: u32,
    [commands, executed, writes]: [u32; 3],
) -> Operation {
    Operation { step, place, amqp, commands, executed, writes }
}

/// The path of a job that needs one attempt, ends within a third of `worker.lease_ms` and is waited
/// for by `Client::wait`, in a fleet with work. Its result is short, and so is what is announced.
pub(crate) const OPERATIONS: [Operation; 8] = [
    operation("submit: register", "producer-sdk/src/job_records/create.lua", 0, [1, 6, 2]),
    operation("submit: publish, confirm", "producer-sdk/src/publisher.rs", 2, [0, 0, 0]),
    operation("take: get, get-ok", "worker/src/queue/amqp/pollers.rs", 2, [0, 0, 0]),
    operation("claim", "worker/src/store/lua/claim.lua", 0, [1, 7, 3]),
    operation("commit, announce", "worker/src/store/lua/commit.lua", 0, [1, 8, 5]),
    operation("ack", "worker/src/queue/amqp/ack_handle.rs", 1, [0, 0, 0]),
    operation("wait: subscribe, unsubscribe", "producer-sdk/src/subscriber.rs", 0, [2, 2, 0]),
    operation("wait: read before", "producer-sdk/src/job_records/get_state.lua", 0, [1, 3, 0]),
];

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
pub(crate) const LOOK: Figure = Figure {
    what: "a busy worker's look at its empty queues, twice a second",
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
    source: "assumed: a follower costs half of what a leader does",
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
    source: "`tests/run scaling`: Redis, asked all the time; without subscriptions",
};
pub(crate) const REDIS_TRAFFIC: Figure = Figure {
    what: "a job in Redis, both ways",
    value: 6000.0,
    unit: "bytes on the wire",
    source: "`tests/run scaling`: calibration",
};
pub(crate) const REDIS_LOG: Figure = Figure {
    what: "a job in Redis' append-only file",
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
    what: "how much of anything is used",
    value: 0.65,
    unit: "of its limit",
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
    LOOK,
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
