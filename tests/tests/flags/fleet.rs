//! What each flag does in each mode: commands that speak to a fleet.

use crate::expect::{
    BAD, BAD_SEEN, Command,
    Expect::{Elsewhere, Mode, Refused, Seen},
    TERMINAL, both, four, one,
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "submit",
        modes: &[
            ("plain", &["$SCRIPT"]),
            ("wait", &["$SCRIPT", "--wait", "--timeout", "200ms"]),
            ("follow", &["$SCRIPT", "--follow", "--timeout", "200ms"]),
            ("jobs", &["--jobs", "$JOBS"]),
        ],
        rows: &[
            ("--config", &four(BAD, BAD_SEEN)),
            ("SCRIPT", &[(&[], Mode), (&[], Mode), (&[], Mode), (&["$SCRIPT"], Refused)]),
            (
                "--jobs",
                &[
                    (&["--jobs", "$JOBS"], Refused),
                    (&["--jobs", "$JOBS"], Refused),
                    (&["--jobs", "$JOBS"], Refused),
                    (&[], Mode),
                ],
            ),
            ("--language", &four(&["--language", "bash"], Seen("\"language\":\"bash\""))),
            ("--file", &four(&["--file", "$FILE"], Seen("\"name\":\"given.txt\""))),
            ("--stdin", &four(&["--stdin", "$FILE"], Seen("text of the file"))),
            ("--arg", &four(&["--arg", "-given"], Seen("\"args\":[\"-given\"]"))),
            ("TRAILING", &four(&["--arg", "a", "--", "-b"], Seen("\"args\":[\"a\",\"-b\"]"))),
            ("--env", &four(&["--env", "NAME=given"], Seen("\"env\":{\"NAME\":\"given\"}"))),
            ("--tests", &four(&["--tests", "$TESTS"], Seen("\"tests\":[{\"name\":\"given\""))),
            (
                "--compare",
                &four(
                    &["--tests", "$TESTS", "--compare", "tokens"],
                    Seen("\"comparison\":{\"type\":\"tokens\"}"),
                ),
            ),
            (
                "--stop-at-first-failure",
                &four(
                    &["--tests", "$TESTS", "--stop-at-first-failure"],
                    Seen("\"stop_at_first_failure\":true"),
                ),
            ),
            ("--line-buffered", &four(&["--line-buffered"], Seen("\"line_buffered\":true"))),
            (
                "--limit",
                &four(&["--limit", "memory_bytes=512M"], Seen("\"memory_bytes\":536870912")),
            ),
            ("--artifact", &four(&["--artifact", "made.*"], Seen("\"artifacts\":[\"made.*\"]"))),
            (
                "--job-id",
                &[
                    (&["--job-id", "chosen-$MODE"], Seen("\"job_id\":\"chosen-plain\"")),
                    (&["--job-id", "chosen-$MODE"], Seen("\"job_id\":\"chosen-wait\"")),
                    (&["--job-id", "chosen-$MODE"], Seen("\"job_id\":\"chosen-follow\"")),
                    (&["--job-id", "chosen-$MODE"], Refused),
                ],
            ),
            ("--tenant", &four(&["--tenant", "acme"], Seen("\"tenant\":\"acme\""))),
            (
                "--idempotency-key",
                &[
                    (&["--idempotency-key", "$MODE"], Seen("\"idempotency_key\":\"plain\"")),
                    (&["--idempotency-key", "$MODE"], Seen("\"idempotency_key\":\"wait\"")),
                    (&["--idempotency-key", "$MODE"], Seen("\"idempotency_key\":\"follow\"")),
                    (&["--idempotency-key", "$MODE"], Refused),
                ],
            ),
            ("--ttl-ms", &four(&["--ttl-ms", "90s"], Seen("\"ttl_ms\":90000"))),
            (
                "--traceparent",
                &four(
                    &["--traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
                    Elsewhere("fleet::traces"),
                ),
            ),
            ("--priority", &four(&["--priority", "batch"], Seen("\"priority\":\"batch\""))),
            // No worker has made that queue.
            ("--isolation", &four(&["--isolation", "gvisor"], Seen("gvisor"))),
            (
                "--wait",
                &[
                    (&["--wait", "--timeout", "200ms"], Seen("no result within 0.2 s")),
                    (&[], Mode),
                    (&["--wait"], Elsewhere("--follow waits anyway")),
                    (&["--wait", "--timeout", "200ms"], Seen("no result within 0.2 s")),
                ],
            ),
            (
                "--follow",
                &[
                    (&["--follow", "--timeout", "200ms"], Seen("\"stream\":true")),
                    (&["--follow"], Seen("\"stream\":true")),
                    (&[], Mode),
                    (&["--follow"], Refused),
                ],
            ),
            (
                "--timeout",
                &[
                    (&["--timeout", "1s"], Refused),
                    (&[], Mode),
                    (&[], Mode),
                    (&["--timeout", "1s"], Refused),
                ],
            ),
            (
                "--json",
                &[
                    (&["--json"], Seen("{\"job_id\":")),
                    (&["--json"], Elsewhere("fleet::work")),
                    (&["--json"], Refused),
                    (&["--json"], Elsewhere("fleet::jobs")),
                ],
            ),
            (
                "--raw",
                &[
                    (&["--raw"], Refused),
                    (&["--raw"], TERMINAL),
                    (&["--raw"], TERMINAL),
                    (&["--raw"], Refused),
                ],
            ),
            (
                "--artifacts",
                &[
                    (&["--artifacts", "$OUT"], Refused),
                    (&["--artifacts", "$OUT"], Seen("\"artifacts\":[\"**/*\"]")),
                    (&["--artifacts", "$OUT"], Seen("\"artifacts\":[\"**/*\"]")),
                    (&["--artifacts", "$OUT"], Refused),
                ],
            ),
        ],
    },
    Command {
        name: "result",
        modes: &[("now", &["$DONE"]), ("wait", &["$QUEUED", "--wait", "--timeout", "200ms"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            ("JOB_IDS", &both(&["another"], Seen("job another is unknown"))),
            ("--wait", &[(&["--wait"], Elsewhere("it has its result")), (&[], Mode)]),
            ("--timeout", &[(&["--timeout", "1s"], Refused), (&[], Mode)]),
            (
                "--json",
                &[(&["--json"], Seen("{\"job_id\":")), (&["--json"], Elsewhere("fleet::work"))],
            ),
            ("--raw", &both(&["--raw"], TERMINAL)),
            (
                "--explain",
                &[
                    (&["--explain"], Seen("never started")),
                    (&["--explain"], Elsewhere("fleet::history")),
                ],
            ),
            (
                "--artifacts",
                &[
                    (&["--artifacts", "$OUT"], Seen("has no artifacts")),
                    (&["--artifacts", "$OUT"], Elsewhere("fleet::work")),
                ],
            ),
        ],
    },
    Command {
        name: "jobs",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--failed", &one(&["--failed"], Elsewhere("fleet::history"))),
            ("--since", &one(&["--since", "1h"], Elsewhere("fleet::history"))),
            ("--tenant", &one(&["--tenant", "acme"], Elsewhere("fleet::history"))),
            ("--language", &one(&["--language", "bash"], Elsewhere("fleet::history"))),
            ("--limit", &one(&["--limit", "1"], Elsewhere("fleet::history"))),
            ("--json", &one(&["--json"], Elsewhere("fleet::history"))),
        ],
    },
    Command {
        name: "cancel",
        modes: &[("plain", &["$DONE"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("JOB_IDS", &one(&["another"], Seen("another: unknown"))),
        ],
    },
    Command {
        name: "hold",
        modes: &[("plain", &["--language", "nowhere"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--all", &one(&["--all"], Seen("cannot be used with"))),
            ("--tenant", &one(&["--tenant", "acme"], Seen("cannot be used with"))),
            ("--language", &one(&[], Mode)),
            ("--image", &one(&["--image", "sha256:ab"], Seen("cannot be used with"))),
        ],
    },
    Command {
        name: "release",
        modes: &[("plain", &["--language", "nowhere"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--all", &one(&["--all"], Seen("cannot be used with"))),
            ("--tenant", &one(&["--tenant", "acme"], Seen("cannot be used with"))),
            ("--language", &one(&[], Mode)),
            ("--image", &one(&["--image", "sha256:ab"], Seen("cannot be used with"))),
        ],
    },
    Command {
        name: "kill",
        modes: &[("plain", &["--language", "nowhere"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--all", &one(&["--all"], Seen("cannot be used with"))),
            ("--tenant", &one(&["--tenant", "acme"], Seen("cannot be used with"))),
            ("--language", &one(&[], Mode)),
            ("--image", &one(&["--image", "sha256:ab"], Seen("cannot be used with"))),
        ],
    },
    Command { name: "drain", modes: &[("plain", &[])], rows: &[("--config", &one(BAD, BAD_SEEN))] },
    Command {
        name: "setup",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--isolation", &one(&["--isolation", "gvisor"], Seen("container, gvisor"))),
        ],
    },
    Command {
        name: "delete",
        modes: &[("ids", &["nothing"]), ("tenant", &["--tenant", "nobody"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            (
                "JOB_IDS",
                &[
                    (&["another"], Seen("another: unknown")),
                    (&["another"], Seen("cannot be used with")),
                ],
            ),
            ("--tenant", &[(&["--tenant", "acme"], Seen("cannot be used with")), (&[], Mode)]),
        ],
    },
    Command {
        name: "usage",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--tenant", &one(&["--tenant", "acme"], Elsewhere("roles::usage"))),
            ("--day", &one(&["--day", "2020-02-02"], Seen("2020-02-02"))),
            ("--json", &one(&["--json"], Seen("[]"))),
        ],
    },
    Command {
        name: "audit",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--since", &one(&["--since", "1ms"], Elsewhere("roles::audit"))),
            ("--json", &one(&["--json"], Elsewhere("roles::audit"))),
        ],
    },
    Command {
        name: "top",
        modes: &[("screen", &[]), ("once", &["--once"])],
        rows: &[
            ("--config", &[(BAD, Seen("worker.slots")), (BAD, BAD_SEEN)]),
            ("--once", &[(&["--once"], Seen("workers 0 ready")), (&[], Mode)]),
            ("--json", &[(&["--json"], Refused), (&["--json"], Seen("\"ended_per_second\""))]),
            (
                "--interval",
                &[
                    (&["--interval", "1ms"], Refused),
                    (&["--interval", "1s"], Elsewhere("it asks once")),
                ],
            ),
        ],
    },
    Command {
        name: "queue",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--json", &one(&["--json"], Seen("\"consumers\":0"))),
        ],
    },
    Command {
        name: "queue list",
        modes: &[("kept", &[]), ("jobs", &["container.interactive"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            (
                "QUEUE",
                &[
                    (&["container.batch"], Seen("no job that the store knows")),
                    (&["dead"], Seen("unexpected argument")),
                ],
            ),
            (
                "--in",
                &[(&["--in", "dead"], Elsewhere("fleet::kept")), (&["--in", "dead"], Refused)],
            ),
            (
                "--cause",
                &[
                    (&["--cause", "twin"], Elsewhere("fleet::kept")),
                    (&["--cause", "twin"], Refused),
                ],
            ),
            (
                "--tenant",
                &[
                    (&["--tenant", "acme"], Elsewhere("roles::queue")),
                    (&["--tenant", "nobody"], Seen("no job that the store knows")),
                ],
            ),
            (
                "--language",
                &[
                    (&["--language", "bash"], Elsewhere("roles::queue")),
                    (&["--language", "bash"], Seen("no job that the store knows")),
                ],
            ),
            ("--limit", &both(&["--limit", "3"], Elsewhere("fleet::kept"))),
            (
                "--json",
                &[(&["--json"], Elsewhere("fleet::kept")), (&["--json"], Seen("\"attempts\":0"))],
            ),
        ],
    },
    Command {
        name: "queue show",
        modes: &[("plain", &["nothing"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("IDS", &one(&["another"], Seen("another: no such message"))),
            ("--body", &one(&["--body"], Elsewhere("roles::queue"))),
        ],
    },
    Command {
        name: "queue requeue",
        modes: &[("ids", &["nothing"]), ("all", &["--all"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            (
                "IDS",
                &[
                    (&["another"], Seen("another: no such message")),
                    (&["another"], Seen("cannot be used with")),
                ],
            ),
            ("--all", &[(&["--all"], Seen("cannot be used with")), (&[], Mode)]),
            ("--in", &both(&["--in", "dead"], Elsewhere("roles::queue"))),
            ("--cause", &both(&["--cause", "twin"], Elsewhere("roles::queue"))),
            ("--tenant", &both(&["--tenant", "acme"], Elsewhere("roles::queue"))),
            ("--language", &both(&["--language", "bash"], Elsewhere("roles::queue"))),
        ],
    },
    Command {
        name: "queue drop",
        modes: &[("ids", &["nothing", "--yes"]), ("all", &["--all", "--yes"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            (
                "IDS",
                &[
                    (&["another"], Seen("another: no such message")),
                    (&["another"], Seen("cannot be used with")),
                ],
            ),
            ("--all", &[(&["--all"], Seen("cannot be used with")), (&[], Mode)]),
            ("--yes", &both(&[], Mode)),
            ("--in", &both(&["--in", "dead"], Elsewhere("roles::queue"))),
            ("--cause", &both(&["--cause", "twin"], Elsewhere("roles::queue"))),
            ("--tenant", &both(&["--tenant", "acme"], Elsewhere("roles::queue"))),
            ("--language", &both(&["--language", "bash"], Elsewhere("roles::queue"))),
        ],
    },
    Command {
        name: "workers",
        modes: &[("plain", &[])],
        rows: &[("--config", &one(BAD, BAD_SEEN)), ("--json", &one(&["--json"], Seen("[]")))],
    },
    Command {
        name: "bench",
        modes: &[
            ("default", &["--jobs", "1", "--rate", "1000", "--timeout", "200ms"]),
            ("script", &["$SCRIPT", "--jobs", "1", "--rate", "1000", "--timeout", "200ms"]),
        ],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            ("SCRIPT", &[(&["$SCRIPT"], Seen("mirror")), (&[], Mode)]),
            (
                "--language",
                &[
                    (&["--language", "bash"], Refused),
                    (&["--language", "bash"], Seen("\"language\":\"bash\"")),
                ],
            ),
            ("--file", &both(&["--file", "$FILE"], Seen("\"name\":\"given.txt\""))),
            ("--stdin", &both(&["--stdin", "$FILE"], Seen("text of the file"))),
            ("--arg", &both(&["--arg", "-given"], Seen("\"args\":[\"-given\"]"))),
            ("TRAILING", &both(&["--", "-b"], Seen("\"args\":[\"-b\"]"))),
            ("--env", &both(&["--env", "NAME=given"], Seen("\"env\":{\"NAME\":\"given\"}"))),
            ("--tests", &both(&["--tests", "$TESTS"], Seen("\"tests\":[{\"name\":\"given\""))),
            (
                "--compare",
                &both(
                    &["--tests", "$TESTS", "--compare", "exact"],
                    Seen("\"comparison\":{\"type\":\"exact\"}"),
                ),
            ),
            (
                "--stop-at-first-failure",
                &both(
                    &["--tests", "$TESTS", "--stop-at-first-failure"],
                    Seen("\"stop_at_first_failure\":true"),
                ),
            ),
            ("--line-buffered", &both(&["--line-buffered"], Seen("\"line_buffered\":true"))),
            ("--limit", &both(&["--limit", "wall_time_ms=2s"], Seen("\"wall_time_ms\":2000"))),
            ("--artifact", &both(&["--artifact", "made.*"], Seen("\"artifacts\":[\"made.*\"]"))),
            ("--jobs", &both(&[], Mode)),
            ("--rate", &both(&[], Mode)),
            ("--concurrency", &both(&["--concurrency", "1"], Elsewhere("fleet::bench"))),
            ("--priority", &both(&["--priority", "batch"], Seen("\"priority\":\"batch\""))),
            ("--timeout", &both(&[], Mode)),
            ("--json", &both(&["--json"], Seen("\"throughput\":"))),
        ],
    },
];
