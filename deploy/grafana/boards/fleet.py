"""Is the fleet well? What an operator looks at first."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from .parts import Others, RED, YELLOW, GREEN, above, below, board, fleet, heat, language, lines, percentiles, quantile, rate, row, single, worker

RESULTS = "sandfleet_job_results_total"
DURATION = "sandfleet_job_duration_seconds"
STAGE = "sandfleet_job_stage_duration_seconds"


def make(others: Others) -> Dashboard:
    made = board("sandfleet-fleet", "sandfleet / Fleet", "Whether jobs get their results, how fast, and what is in their way.", others)
    row(
        made,
        "Now",
        single(
            "Jobs per second", f"sum({rate(RESULTS, worker())})", "ops", above(),
            "Results stored. If it falls while jobs wait, see Workers ready, Slots busy and Components.",
        ),
        single(
            "Jobs without our failure",
            f"1 - sum({rate(RESULTS, worker(status='error'))}) / sum({rate(RESULTS, worker())})",
            "percentunit", below((0.99, YELLOW), (0.999, GREEN)),
            "Share of results that are not status error. Below the objective: `sandfleet doctor` on the worker with most retries, and its log.",
        ),
        single(
            "p95 end to end", quantile(0.95, DURATION, worker()), "s", above((30, YELLOW), (120, RED)),
            "From submission to stored result. See under Latency which stage grew: queue means too few slots, setup a slow host.",
        ),
        single(
            "Jobs waiting", f"sum(sandfleet_fleet_queue_messages{fleet(kind='~jobs|tenant_jobs')})", "short",
            above((1000, YELLOW), (100000, RED)),
            "In all queues. Growing for minutes: add workers, or see why those there take none.",
        ),
        single(
            "Oldest job", f"max(sandfleet_fleet_queue_oldest_age_seconds{fleet()})", "s", above((60, YELLOW), (300, RED)),
            "At most how long any waiting job has waited. It grows while a queue has no worker: see Workers by queue.",
        ),
        single(
            "Workers ready", f"sum(sandfleet_fleet_workers{fleet(state='ready')})", "short", below((1, GREEN)),
            "By their heartbeats. None: start workers, or see `sandfleet workers` and the workers' logs for what is not ready.",
        ),
        single(
            "Slots busy", f"sum(sandfleet_fleet_slots_busy{fleet()}) / sum(sandfleet_fleet_slots{fleet()})", "percentunit",
            above((0.9, YELLOW)),
            "Near 100 % with jobs waiting: the fleet is too small. Low with jobs waiting: see Components and put off messages.",
        ),
        single(
            "Dead letters", f"sum(sandfleet_fleet_queue_messages{fleet(kind='~dead|unreadable')})", "short",
            above((1, YELLOW), (100, RED)),
            "Dead letters that no worker has answered yet, and messages that nobody can answer. docs/runbooks.md says how to look at them.",
        ),
    )
    row(
        made,
        "Traffic",
        lines(
            "Results by status", "ops", "Status error is our failure: see Errors. Expired: too few workers. Rejected: a producer sends what no worker takes.",
            (f"sum by (status) ({rate(RESULTS, language())})", "{{status}}"), stacked=True,
        ),
        lines(
            "Results by language", "ops", "A language that falls to 0 while others run: its interpreter is missing on the workers, see `sandfleet doctor`.",
            (f"sum by (language) ({rate(RESULTS, language())})", "{{language}}"), stacked=True,
        ),
        lines(
            "Results by priority", "ops", "Batch jobs run when interactive ones leave slots. Batch at 0 for long: add workers.",
            (f"sum by (priority) ({rate(RESULTS, language())})", "{{priority}}"), stacked=True,
        ),
    )
    row(
        made,
        "Latency",
        percentiles("End to end", "From submission to stored result. Compare the stages beside it to see where time goes.", DURATION, worker()),
        lines(
            "Stages, p95", "s", "queue: too few slots. setup: a slow or overloaded host, no warm interpreter. run: the programs. commit: the store.",
            (quantile(0.95, STAGE, worker(), "stage"), "{{stage}}"),
        ),
        lines(
            "Stages, mean", "s", "As above, by the mean: a stage whose mean grows and p95 doesn't is slow for all jobs alike.",
            (f"sum by (stage) ({rate(STAGE + '_sum', worker())}) / sum by (stage) ({rate(STAGE + '_count', worker())})", "{{stage}}"),
        ),
        heat("Queue wait", "Two bands: jobs of two priorities, or of a tenant that waits for its share.", STAGE, worker(stage='queue')),
        heat("Run", "How long programs ran. A band at a round number is a time limit.", STAGE, worker(stage='run')),
    )
    row(
        made,
        "Verdicts and kills",
        lines(
            "Verdicts", "ops", "internal_error is ours: see Errors. A sudden change of the others is a change of what is submitted.",
            (f"sum by (verdict) ({rate(RESULTS, language())})", "{{verdict}}"), stacked=True,
        ),
        lines(
            "Kills by limit", "ops", "What ended programs. Many of one kind from honest users: the default limit is too low for them.",
            (f"sum by (limit) ({rate('sandfleet_job_kills_total', worker())})", "{{limit}}"),
        ),
        lines(
            "Limits hit without a kill", "ops", "Refused processes, files, output or artifacts. Users may want to raise the limit that their job asks for.",
            (f"sum by (limit) ({rate('sandfleet_job_limits_hit_total', worker())})", "{{limit}}"),
        ),
    )
    row(
        made,
        "Queue",
        lines(
            "Waiting by kind", "short", "tenant_jobs: jobs that name a tenant. later: put off until a worker that takes them is free.",
            (f"sum by (kind) (sandfleet_fleet_queue_messages{fleet()})", "{{kind}}"),
        ),
        lines(
            "Oldest job by queue", "s", "A single queue that grows: no worker serves it, or it has no leader (`rabbitmq-queues quorum_status`).",
            (f"max by (queue) (sandfleet_fleet_queue_oldest_age_seconds{fleet(kind='jobs')})", "{{queue}}"),
        ),
        lines(
            "Workers by queue", "short", "0 for a queue with jobs: nobody will take them. Start a worker with that isolation.",
            (f"min by (queue) (sandfleet_fleet_queue_workers{fleet(kind='jobs')})", "{{queue}}"),
        ),
        lines(
            "Taken and returned", "ops", "Redeliveries without deploys: workers die or lose the broker. Duplicates cost nothing. Put off: a mixed fleet.",
            (f"sum({rate('sandfleet_queue_deliveries_total', worker())})", "taken"),
            (f"sum({rate('sandfleet_queue_redeliveries_total', worker())})", "redelivered"),
            (f"sum({rate('sandfleet_job_duplicates_total', worker())})", "duplicates"),
            (f"sum({rate('sandfleet_queue_put_off_total', worker())})", "put off"),
            (f"sum({rate('sandfleet_queue_postponed_total', worker())})", "tenant is full"),
            (f"sum({rate('sandfleet_queue_held_total', worker())})", "held by a switch"),
            width=12,
        ),
        lines(
            "Not answerable", "ops", "unreadable and twins are a producer's mistakes: find it by the queue's messages. Dead letters get a result of their own.",
            (f"sum({rate('sandfleet_queue_unreadable_total', worker())})", "unreadable"),
            (f"sum({rate('sandfleet_queue_twins_total', worker())})", "twins"),
            (f"sum by (cause) ({rate('sandfleet_queue_dead_letters_total', worker())})", "dead letter: {{cause}}"),
            width=12,
        ),
    )
    row(
        made,
        "Capacity",
        lines(
            "Workers by state", "short", "not_ready: a component of theirs is away, their log says which. stopping for long: a drain that is stuck.",
            (f"sum by (state) (sandfleet_fleet_workers{fleet()})", "{{state}}"), stacked=True,
        ),
        lines(
            "Slots", "short", "in use is what the programs took; if it touches slots while jobs wait, the fleet is too small.",
            (f"sum(sandfleet_worker_slots{worker()})", "slots"),
            (f"sum({rate('sandfleet_slot_busy_seconds_sum', worker())})", "in use"),
            (f"sum(sandfleet_worker_slots_stuck{worker()})", "stuck"),
        ),
        lines(
            "Store memory", "bytes", "Near the maximum the store refuses results and every job waits: lower store.result_ttl_ms or give it memory.",
            (f"max(sandfleet_fleet_store_memory_bytes{fleet()})", "used"),
            (f"max(sandfleet_fleet_store_memory_max_bytes{fleet()})", "maximum (0: none)"),
        ),
        lines(
            "Replication of the store", "short", "Fewer replicas than you run, or a lag that grows: a failover would lose results.",
            (f"max(sandfleet_fleet_store_replicas{fleet()})", "replicas"),
            (f"max(sandfleet_fleet_store_append_only{fleet()})", "append-only log"),
            (f"max(sandfleet_fleet_store_persistence_ok{fleet()})", "persistence works"),
        ),
    )
    row(
        made,
        "Errors",
        lines(
            "Components", "short", "Workers whose component works. A dip: that service was away; jobs waited and none was lost.",
            (f"sum by (component) (sandfleet_component_up{worker()})", "{{component}}"),
        ),
        lines(
            "Retries by cause", "ops", "sandbox: the worker's log names the part that failed. host_memory: too many slots for the host.",
            (f"sum by (cause) ({rate('sandfleet_job_retries_total', worker())})", "{{cause}}"),
        ),
        lines(
            "Lost leases", "ops", "A worker could not renew in time, so a job may run twice (its result is stored once). The store or the network is slow.",
            (f"sum({rate('sandfleet_job_leases_lost_total', worker())})", "leases lost"),
        ),
        lines(
            "Services as the exporter sees them", "short", "0: the exporter can't reach it. If workers can, its own address or network is wrong.",
            (f"min by (service) (sandfleet_fleet_service_up{fleet()})", "{{service}}"),
            (f"max(sandfleet_fleet_broker_blocked{fleet()})", "broker blocked"),
        ),
        lines(
            "Evicted keys of the store", "ops", "Each may have been a result. Set maxmemory-policy noeviction and give the store memory.",
            (f"sum({rate('sandfleet_fleet_store_evicted_keys_total', fleet())})", "evicted"),
        ),
        lines(
            "Failed calls", "ops", "Which service fails and at what. The workers' logs have the reason once.",
            (f"sum by (service, call) ({rate('sandfleet_call_errors_total', worker())})", "{{service}} {{call}}"),
        ),
    )
    return made
