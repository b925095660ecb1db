//! Names of queues, exchanges, keys and channels: one home, so that producers and workers can't
//! disagree.

use crate::{Isolation, JobId, Priority};

/// The queue that jobs of this isolation and priority wait in.
///
/// One queue per isolation, so that a worker which can't give it never sees the job; one per
/// priority, because quorum queues of RabbitMQ 3.x know no priorities.
pub fn job_queue(prefix: &str, isolation: Isolation, priority: Priority) -> String {
    format!("{prefix}.jobs.{}.{}", isolation.as_str(), priority.as_str())
}

/// The exchange that takes what no worker could settle.
pub fn dead_exchange(prefix: &str) -> String {
    format!("{prefix}.dead")
}

/// The queue behind [`dead_exchange`].
pub fn dead_queue(prefix: &str) -> String {
    format!("{prefix}.dead")
}

/// The Redis key of a job's result. The braces are a hash tag: all keys of a job share one slot.
pub fn result_key(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:result")
}

/// The Redis key that holds who runs a job, while somebody does.
pub fn lease_key(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:lease")
}

/// The Redis key of what is remembered of a job from its submission until no message of it can be
/// left: a hash.
pub fn record_key(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:record")
}

/// The Redis key of the stream of what a job prints, and the channel on which news of it are
/// announced.
pub fn output_key(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:output")
}

/// The Redis channel on which the end of a job is announced.
pub fn done_channel(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:done")
}

/// The Redis channel on which workers hear which running jobs are called off.
pub fn cancel_channel(prefix: &str) -> String {
    format!("{prefix}:cancel")
}

/// The Redis key of the index of live workers: a sorted set of their ids by their last heartbeat.
pub fn workers_key(prefix: &str) -> String {
    format!("{prefix}:{{workers}}")
}

/// The Redis key of what a live worker says about itself.
pub fn worker_key(prefix: &str, worker_id: &str) -> String {
    format!("{prefix}:{{workers}}:{worker_id}")
}

/// The queue of dead letters that name no job: they are kept for people.
pub fn unreadable_queue(prefix: &str) -> String {
    format!("{prefix}.dead.unreadable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_every_part() {
        let a: JobId = "a".parse().expect("valid");
        let keys = [
            result_key("p", &a),
            lease_key("p", &a),
            record_key("p", &a),
            output_key("p", &a),
            done_channel("p", &a),
            cancel_channel("p"),
            workers_key("p"),
            worker_key("p", "a"),
        ];
        assert_eq!(keys[0], "p:{a}:result");
        assert!((1..keys.len()).all(|i| !keys[..i].contains(&keys[i])));
        assert_eq!(
            job_queue("sandfleet", Isolation::Container, Priority::Batch),
            "sandfleet.jobs.container.batch"
        );
    }
}
