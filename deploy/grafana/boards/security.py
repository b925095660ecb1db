"""What programs tried, and whether the barriers and what they rest on are in order."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from .parts import Others, RED, YELLOW, GREEN, above, below, board, language, lines, rate, row, single, worker


def make(others: Others) -> Dashboard:
    made = board("sandfleet-security", "sandfleet / Security", "What programs tried, what ended them, and what was left behind.", others)
    row(
        made,
        "Now",
        single("Security events per minute", f"60 * sum({rate('sandfleet_security_events_total', worker())})", "short", above((1, YELLOW), (10, RED)),
               "Things that no honest program does. Which jobs: `sandfleet result ID` shows security_events; find them in the log by verdict=security_violation."),
        single("Violations per minute", f"60 * sum({rate('sandfleet_job_results_total', language(verdict='security_violation'))})", "short", above((1, YELLOW), (10, RED)),
               "Jobs that ended as security_violation. Look at their tenant; docs/threat-model.md says what each rule rests on."),
        single("Kills per second", f"sum({rate('sandfleet_job_kills_total', worker())})", "ops", above((10, YELLOW)),
               "Programs that were killed at a limit. Normal for graders; a jump is a tenant that probes limits."),
        single("Sandbox works", f"min(sandfleet_component_up{worker(component='sandbox')})", "bool_yes_no", below((1, GREEN)),
               "0: a barrier can't be installed or the engine is away. Such a worker runs nothing. `sandfleet doctor` there names the fix."),
        single("Stuck slots", f"sum(sandfleet_worker_slots_stuck{worker()})", "short", above((1, RED)),
               "A program's process outlived SIGKILL. Look at it with ps; see docs/runbooks.md."),
        single("Leftovers in 1 h", f"sum(increase(sandfleet_leftovers_reaped_total{worker()}[1h]))", "short", above((1, YELLOW), (50, RED)),
               "What workers that died had left. See which host, and why its worker died."),
        single("Certificate ends in", f"min(sandfleet_certificate_expiry_timestamp_seconds{worker()} - time())", "s", below((604800, YELLOW), (2592000, GREEN)),
               "Until the first certificate that the workers use ends. Replace the file, then restart the workers one after the other."),
        single("Unreadable per minute", f"60 * sum({rate('sandfleet_queue_unreadable_total', worker())} + {rate('sandfleet_queue_twins_total', worker())})", "short", above((1, YELLOW)),
               "Messages that name no job, or another's. A broken producer, or someone who tries the queue."),
    )
    row(
        made,
        "Programs",
        lines("Security events", "ops", "tampering: used the stream to the worker. init_killed: killed the container's first process, which only gVisor lets it.",
              (f"sum by (kind) ({rate('sandfleet_security_events_total', worker())})", "{{kind}}"), width=12),
        lines("Kills by limit", "ops", "processes: fork bombs. memory_bytes: memory bombs. sockets, mappings, record_locks: kernel memory that no limit counts.",
              (f"sum by (limit) ({rate('sandfleet_job_kills_total', worker())})", "{{limit}}"), width=12),
        lines("Refused within limits", "ops", "processes, open_files, scratch_bytes: refused by the kernel and survived.",
              (f"sum by (limit) ({rate('sandfleet_job_limits_hit_total', worker())})", "{{limit}}"), width=12),
        lines("Output cut", "ops", "Streams beyond output_bytes, and files that were not taken. A flood from one tenant: lower its limit.",
              (f"sum by (stream) ({rate('sandfleet_job_output_truncations_total', worker())})", "{{stream}}"),
              (f"sum({rate('sandfleet_job_artifacts_skipped_total', worker())})", "artifacts skipped"), width=12),
    )
    row(
        made,
        "Messages",
        lines("What can't be answered", "ops", "By a producer's mistake or by intent. Show one: docs/runbooks.md, dead letters.",
              (f"sum({rate('sandfleet_queue_unreadable_total', worker())})", "unreadable"),
              (f"sum({rate('sandfleet_queue_twins_total', worker())})", "another job's id")),
        lines("Rejected jobs", "ops", "Jobs that aren't valid; their results name the field. A jump: a producer was changed.",
              (f"sum by (priority) ({rate('sandfleet_job_results_total', worker(status='rejected'))})", "{{priority}}")),
        lines("Cancelled and duplicate", "ops", "Copies of jobs that had their result: producers that submit twice, or a replay.",
              (f"sum({rate('sandfleet_job_cancellations_total', worker())})", "cancelled while running"),
              (f"sum({rate('sandfleet_job_duplicates_total', worker())})", "duplicates")),
    )
    row(
        made,
        "Barriers",
        lines("What runs", "short", "Workers by version, backend and isolation. More than one version for long: a deploy that stopped half way.",
              (f"count by (version, backend, isolation) (sandfleet_build_info{worker()})", "{{version}} {{backend}} {{isolation}}"), width=12),
        lines("Sandboxes that work", "short", "Below the number of workers: one runs nothing, see its log.",
              (f"sum(sandfleet_component_up{worker(component='sandbox')})", "sandbox"), width=12),
    )
    return made
