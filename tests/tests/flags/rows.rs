//! What each flag does in each mode.

/// What becomes of a flag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Something shows or is sent that isn't there without the flag.
    Seen(&'static str),
    /// The command refuses it by name.
    Refused,
    /// The mode is made of it.
    Mode,
    /// It is accepted; its effect is the matter of this test, or there is none to see.
    Elsewhere(#[expect(dead_code, reason = "for readers")] &'static str),
}

use Expect::{Elsewhere, Mode, Refused, Seen};

type Row = (&'static str, &'static [(&'static [&'static str], Expect)]);

/// A command, the arguments that make its modes, and what its flags do in each.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) modes: &'static [(&'static str, &'static [&'static str])],
    pub(crate) rows: &'static [Row],
}

const fn one(
    extra: &'static [&'static str],
    expect: Expect,
) -> [(&'static [&'static str], Expect); 1] {
    [(extra, expect)]
}

const fn both(
    extra: &'static [&'static str],
    expect: Expect,
) -> [(&'static [&'static str], Expect); 2] {
    [(extra, expect); 2]
}

const fn four(
    extra: &'static [&'static str],
    expect: Expect,
) -> [(&'static [&'static str], Expect); 4] {
    [(extra, expect); 4]
}

const BAD: &[&str] = &["--config", "$BAD"];
const BAD_SEEN: Expect = Seen("exit 64");
const TERMINAL: Expect = Elsewhere("run::terminal");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "run",
        modes: &[("one", &["$SCRIPT"]), ("batch", &["--batch", "$JOBS"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            ("SCRIPT", &[(&[], Mode), (&["$SCRIPT"], Refused)]),
            ("--language", &both(&["--language", "bash"], Seen("runtime_error"))),
            ("--file", &both(&["--file", "$FILE"], Seen("given.txt"))),
            ("--stdin", &both(&["--stdin", "$FILE"], Seen("text of the file"))),
            ("--arg", &both(&["--arg", "-given"], Seen("['-given']"))),
            ("TRAILING", &both(&["--arg", "a", "--", "-b"], Seen("['a', '-b']"))),
            ("--env", &both(&["--env", "NAME=given"], Seen("given"))),
            ("--limit", &both(&["--limit", "open_files=77"], Seen("nofile 77"))),
            ("--line-buffered", &both(&["--line-buffered"], Elsewhere("run::buffering"))),
            (
                "--artifact",
                &[
                    (&["--artifact", "made.*"], Refused),
                    (&["--artifact", "made.*"], Seen("\"name\":\"made.txt\"")),
                ],
            ),
            (
                "--artifacts",
                &[
                    (&["--artifacts", "$OUT"], Seen("| made.txt in ")),
                    (&["--artifacts", "$OUT"], Refused),
                ],
            ),
            (
                "--json",
                &[
                    (&["--json"], Seen("{\"job_id\":")),
                    (&["--json"], Elsewhere("it is JSON anyway")),
                ],
            ),
            ("--raw", &[(&["--raw"], TERMINAL), (&["--raw"], Refused)]),
            ("--batch", &[(&["--batch", "$JOBS"], Refused), (&[], Mode)]),
            (
                "--concurrency",
                &[
                    (&["--concurrency", "1"], Refused),
                    (&["--concurrency", "1"], Elsewhere("run::batch")),
                ],
            ),
            ("--sandbox", &both(&["--sandbox", "docker"], Seen("exit 69"))),
        ],
    },
    Command {
        name: "worker",
        modes: &[("work", &["--drain-after", "300ms"]), ("check", &["--check-config"])],
        rows: &[
            ("--config", &both(BAD, BAD_SEEN)),
            ("--check-config", &[(&["--check-config"], Refused), (&[], Mode)]),
            (
                "--sandbox",
                &[(&["--sandbox", "docker"], Seen("exit 69")), (&["--sandbox", "docker"], Refused)],
            ),
            ("--drain-after", &[(&[], Mode), (&["--drain-after", "1s"], Refused)]),
            (
                "--drain-after-jobs",
                &[
                    (&["--drain-after-jobs", "1"], Elsewhere("fleet::stopping")),
                    (&["--drain-after-jobs", "1"], Refused),
                ],
            ),
        ],
    },
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
        name: "workers",
        modes: &[("plain", &[])],
        rows: &[("--config", &one(BAD, BAD_SEEN)), ("--json", &one(&["--json"], Seen("[]")))],
    },
    Command {
        name: "languages",
        modes: &[("plain", &["--sandbox", "native"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--sandbox", &one(&[], Mode)),
            ("--check", &one(&["--check", "--json"], Seen("\"check\": {"))),
            ("--json", &one(&["--json"], Seen("\"name\": \"python\""))),
        ],
    },
    Command {
        name: "exporter",
        // Without the flag it goes on: fleet::exporter.
        modes: &[("once", &["--once"])],
        rows: &[("--config", &one(BAD, BAD_SEEN)), ("--once", &one(&[], Mode))],
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
    Command {
        name: "doctor",
        modes: &[
            ("examine", &[]),
            ("attack", &["--attack", "--sandbox", "docker"]),
            ("diff", &["--diff", "$REPORT", "$REPORT"]),
        ],
        rows: &[
            ("--config", &[(BAD, BAD_SEEN), (BAD, BAD_SEEN), (BAD, BAD_SEEN)]),
            (
                "--sandbox",
                &[
                    (&["--sandbox", "docker"], Seen("exit 71")),
                    (&[], Mode),
                    (&["--sandbox", "docker"], Refused),
                ],
            ),
            (
                "--attack",
                &[
                    (&["--attack", "--sandbox", "docker"], Seen("exit 69")),
                    (&[], Mode),
                    (&["--attack"], Refused),
                ],
            ),
            (
                "--report",
                &[
                    (&["--report", "$OUT"], Refused),
                    (&["--report", "$OUT"], Seen("left: out-attack")),
                    (&["--report", "$OUT"], Refused),
                ],
            ),
            (
                "--diff",
                &[
                    (&["--diff", "$REPORT", "$REPORT"], Seen("nothing differs")),
                    (&["--diff", "$REPORT", "$REPORT"], Refused),
                    (&[], Mode),
                ],
            ),
            (
                "--json",
                &[
                    (&["--json"], Seen("\"area\":")),
                    (&["--json"], Elsewhere("run::doctor")),
                    (&["--json"], Seen("[]")),
                ],
            ),
        ],
    },
    Command {
        name: "version",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, Refused)),
            ("--json", &one(&["--json"], Seen("\"agent_sha256\":"))),
        ],
    },
    Command {
        name: "completions",
        modes: &[("plain", &["bash"])],
        rows: &[("--config", &one(BAD, Refused)), ("SHELL", &one(&[], Mode))],
    },
    Command {
        name: "man",
        modes: &[("plain", &["--output", "$OUT"])],
        rows: &[("--config", &one(BAD, Refused)), ("--output", &one(&[], Mode))],
    },
    Command {
        name: "agent",
        modes: &[("plain", &["--output", "$OUT"])],
        rows: &[
            ("--config", &one(BAD, Refused)),
            ("--output", &one(&[], Mode)),
            (
                "--python-module",
                &one(&["--python-module", "$OUT.py"], Seen("left: out-plain.py\n")),
            ),
        ],
    },
    Command {
        name: "docs",
        modes: &[("plain", &["metrics"])],
        rows: &[("--config", &one(BAD, Refused)), ("PAGE", &one(&[], Mode))],
    },
];
