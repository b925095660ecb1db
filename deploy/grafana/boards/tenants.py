"""Who uses the fleet, and what runs on it."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from .parts import Others, above, board, language, lines, rate, row, single, worker

TENANT = "sandfleet_tenant_job_results_total"
RUN = "sandfleet_tenant_run_seconds_total"
SLOT = "sandfleet_job_slot_seconds_total"
RESULTS = "sandfleet_job_results_total"


def make(others: Others) -> Dashboard:
    made = board(
        "sandfleet-tenants", "sandfleet / Tenants and languages",
        "Who uses the fleet and what runs on it. Tenants are shown if admin.metrics_tenants is above 0.", others,
    )
    row(
        made,
        "Now",
        single("Tenants", f"count(sum by (tenant) ({rate(TENANT, worker())}))", "short", above(),
               "With series of their own, and `other`. All in `other`: raise admin.metrics_tenants."),
        single("Largest share", f"max(sum by (tenant) ({rate(RUN, worker())})) / sum({rate(RUN, worker())})", "percentunit", above((0.8, "yellow")),
               "Of the run time of all tenants, by the one that uses most. Others wait: set jobs.max_running_per_tenant."),
        single("Held back", f"sum({rate('sandfleet_queue_postponed_total', worker())})", "ops", above(),
               "Jobs that went to the end of their queue, since their tenant runs as many as it may."),
        single("Switches thrown", f"max(sandfleet_holds{worker()})", "short", above((1, "yellow")),
               "Holds of an operator: `sandfleet workers` names them, `sandfleet release` ends them."),
        single("Languages in use", f"count(sum by (language) (increase({RESULTS}{language()}[1h])) > 0)", "short", above(), "With results in the last hour. One that should be there and isn't: its producer, or its queue."),
    )
    row(
        made,
        "Tenants",
        lines("Results by tenant", "ops", "A tenant that floods: its jobs wait in queues of their own; jobs.max_running_per_tenant holds it to a share.",
              (f"sum by (tenant) ({rate(TENANT, worker())})", "{{tenant}}"), width=12, stacked=True),
        lines("Run time by tenant", "short", "Seconds of programs per second: how many slots a tenant keeps busy.",
              (f"sum by (tenant) ({rate(RUN, worker())})", "{{tenant}}"), width=12, stacked=True),
        lines("Failed share by tenant", "percentunit", "Status failed: the tenant's programs. Near 100 %: tell the tenant.",
              (f"sum by (tenant) ({rate(TENANT, worker(status='failed'))}) / sum by (tenant) ({rate(TENANT, worker())})", "{{tenant}}"), width=12),
        lines("Our failures by tenant", "ops", "Status error. One tenant only: its jobs have something that the sandbox fails on; report it.",
              (f"sum by (tenant) ({rate(TENANT, worker(status='error'))})", "{{tenant}}"), width=12),
    )
    row(
        made,
        "Languages",
        lines("Results by language", "ops", "other: a language that is not in the catalogue, or a message that could not be read.",
              (f"sum by (language) ({rate(RESULTS, language())})", "{{language}}"), stacked=True),
        lines("Slots by language", "short", "Slots that each language keeps busy. Compare with results: slow languages are compiled or cold.",
              (f"sum by (language) ({rate(SLOT, language())})", "{{language}}"), stacked=True),
        lines("Slot time for each job", "s", "Mean. A language that got slower: see Worker, Set-up and Warm starts.",
              (f"sum by (language) ({rate(SLOT, language())}) / sum by (language) ({rate('sandfleet_job_starts_total', language())})", "{{language}}")),
        lines("Failed share by language", "percentunit", "A jump of one language without a change of its users: its interpreter or compiler was changed.",
              (f"sum by (language) ({rate(RESULTS, language(status='failed'))}) / sum by (language) ({rate(RESULTS, language())})", "{{language}}"), width=12),
        lines("Compile errors by language", "ops", "The compiler refused the program, or met limits.compile.",
              (f"sum by (language) ({rate(RESULTS, language(verdict='compilation_error'))})", "{{language}}"), width=12),
    )
    return made
