//! Names of queues, exchanges, keys and channels: one home, so that producers and workers can't
//! disagree.
//!
//! What follows a prefix in Redis begins with `{` and an id in the keys of jobs, and with a word in all
//! others: no id, which its submitter chooses, leads to a key that isn't a job's.

use crate::{Isolation, JobId, Priority};

/// Over how many queues the tenants' jobs of one isolation and priority are spread.
///
/// Producers and workers have to agree, so it is part of the protocol and not a setting.
pub const TENANT_SHARDS: usize = 16;

/// The queue that jobs of this isolation and priority wait in if they name no tenant.
///
/// One queue per isolation, so that a worker which can't give it never sees the job; one per
/// priority, because quorum queues of RabbitMQ 3.x know no priorities.
pub fn job_queue(prefix: &str, isolation: Isolation, priority: Priority) -> String {
    format!("{prefix}.jobs.{}.{}", isolation.as_str(), priority.as_str())
}

/// One of the [`TENANT_SHARDS`] queues that tenants' jobs of this isolation and priority wait in.
pub fn shard_queue(prefix: &str, isolation: Isolation, priority: Priority, shard: usize) -> String {
    format!("{}.{shard}", job_queue(prefix, isolation, priority))
}

/// The two shards that a tenant's jobs may wait in. Two tenants share both of them only once in
/// 120 pairs, so a tenant that fills both of its shards leaves nearly every other tenant a free one.
pub fn tenant_shards(tenant: &str) -> [usize; 2] {
    // FNV-1a and murmur's mixing of it, since the last bytes of names that only differ there change
    // few bits: easily written in any language, and the same for ever.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in tenant.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let shards = TENANT_SHARDS as u64;
    let first = hash % shards;
    let second = (first + 1 + hash / shards % (shards - 1)) % shards;
    [first as usize, second as usize]
}

/// The exchange that producers publish jobs to, with the name of the queue as the routing key. A topic exchange: the
/// broker can then say by user which routing keys are allowed.
pub fn jobs_exchange(prefix: &str) -> String {
    format!("{prefix}.jobs")
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

/// The Redis key of the result of a job that was cancelled before it was started. A key of its own, since a producer
/// may write it and may not write the [`result_key`].
pub fn cancelled_key(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:cancelled")
}

/// The Redis key that holds the owner of a running job.
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

/// The Redis key of the places that a tenant's running jobs take.
pub fn tenant_key(prefix: &str, tenant: &str) -> String {
    format!("{prefix}:tenant:{{{tenant}}}:running")
}

/// The Redis channel on which the end of a job is announced.
pub fn done_channel(prefix: &str, id: &JobId) -> String {
    format!("{prefix}:{{{id}}}:done")
}

/// The Redis channel of the cancellations of running jobs.
pub fn cancel_channel(prefix: &str) -> String {
    format!("{prefix}:cancel")
}

/// The Redis key of the index of live workers: a sorted set of their ids by their last heartbeat.
pub fn workers_key(prefix: &str) -> String {
    format!("{prefix}:workers:{{live}}")
}

/// The Redis key of what a live worker says about itself.
pub fn worker_key(prefix: &str, worker_id: &str) -> String {
    format!("{prefix}:workers:{{live}}:{worker_id}")
}

/// The Redis key of a hash that says of each queue when the last job that was taken from it had been submitted.
pub fn taken_key(prefix: &str) -> String {
    format!("{prefix}:queues:taken")
}

/// The Redis key of the stream of jobs that ended.
pub fn history_key(prefix: &str) -> String {
    format!("{prefix}:history")
}

/// The Redis key of the switches that an operator has thrown: a hash.
pub fn switches_key(prefix: &str) -> String {
    format!("{prefix}:switches")
}

/// The Redis key of the stream of what a user of the store did. A key of each user's own: the store itself then vouches for
/// who wrote it.
pub fn audit_key(prefix: &str, store_user: &str) -> String {
    format!("{prefix}:audit:{store_user}")
}

/// The Redis key of what tenants used on a day, counted from 1970-01-01 in UTC: a hash.
pub fn usage_key(prefix: &str, day: &str) -> String {
    format!("{prefix}:usage:{day}")
}

/// The Redis key of the policies that workers had at their start, by backend: a hash.
pub fn policies_key(prefix: &str) -> String {
    format!("{prefix}:policies")
}

/// The Redis key that is written to see whether the store takes anything.
pub fn check_key(prefix: &str) -> String {
    format!("{prefix}:check")
}

/// The queues of one exchange each in which messages wait before they come back to the queue that is
/// their routing key: longer and longer for one that no worker takes.
pub fn later_queue(prefix: &str, step: usize) -> String {
    format!("{prefix}.later.{step}")
}

/// The exchange through which messages come back from the [`later_queue`]s: each queue that they may come
/// back to is bound by its name.
pub fn requeue_exchange(prefix: &str) -> String {
    format!("{prefix}.requeue")
}

/// The exchange before the [`unreadable_queue`], for what names no queue to come back to.
pub fn unreadable_exchange(prefix: &str) -> String {
    unreadable_queue(prefix)
}

/// The queue of messages that can't be answered: they name no job, or the id is another job's. They are
/// kept for people.
pub fn unreadable_queue(prefix: &str) -> String {
    format!("{prefix}.dead.unreadable")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_by_every_part() {
        let a: JobId = "a".parse().expect("valid");
        let keys = [
            result_key("p", &a),
            cancelled_key("p", &a),
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
        assert_eq!(
            shard_queue("sandfleet", Isolation::Container, Priority::Batch, 7),
            "sandfleet.jobs.container.batch.7"
        );
    }

    /// Any id, tenant and worker, among them the words that the keys are made of.
    #[test]
    fn no_job_has_a_key_that_is_not_a_jobs() {
        let words = [
            "workers",
            "live",
            "tenant",
            "check",
            "cancel",
            "cancelled",
            "result",
            "lease",
            "record",
            "output",
            "done",
            "running",
            "_",
            "-",
            "a",
        ];
        let of_jobs: BTreeSet<String> = words
            .iter()
            .map(|word| word.parse::<JobId>().expect("a valid id"))
            .flat_map(|id| {
                [
                    result_key("p", &id),
                    cancelled_key("p", &id),
                    lease_key("p", &id),
                    record_key("p", &id),
                    output_key("p", &id),
                    done_channel("p", &id),
                ]
            })
            .collect();
        assert_eq!(of_jobs.len(), words.len() * 6);
        assert!(of_jobs.iter().all(|key| key.starts_with("p:{")));
        // A worker's name may hold anything.
        let odd = words.iter().map(|word| format!("}}:{word}"));
        let odd = odd.chain(words.iter().map(ToString::to_string));
        let of_none = odd.flat_map(|word| [worker_key("p", &word), tenant_key("p", &word)]);
        let fixed = [
            workers_key("p"),
            taken_key("p"),
            history_key("p"),
            check_key("p"),
            audit_key("p", "a"),
            policies_key("p"),
            usage_key("p", "1"),
            cancel_channel("p"),
            switches_key("p"),
        ];
        for key in of_none.chain(fixed) {
            assert!(!key.starts_with("p:{") && !of_jobs.contains(&key), "{key}");
        }
    }

    #[test]
    fn tenants_spread_evenly_over_pairs_of_shards() {
        let mut load = [0; TENANT_SHARDS];
        let mut pairs = std::collections::BTreeMap::new();
        for tenant in 0..12_000 {
            let [first, second] = tenant_shards(&format!("tenant-{tenant}"));
            assert_ne!(first, second);
            load[first] += 1;
            load[second] += 1;
            *pairs.entry([first.min(second), first.max(second)]).or_insert(0) += 1;
        }
        assert!(load.iter().all(|tenants| (1350..=1650).contains(tenants)), "{load:?}");
        assert_eq!(pairs.len(), TENANT_SHARDS * (TENANT_SHARDS - 1) / 2);
        assert!(pairs.values().all(|tenants| *tenants < 160), "{pairs:?}");
    }

    #[test]
    fn the_shards_of_a_tenant_never_change() {
        assert_eq!(tenant_shards("acme"), [12, 14]);
    }
}
