//! What each flag does in each mode: commands that need no fleet, or are a part of one.

use crate::expect::{
    BAD, BAD_SEEN, Command,
    Expect::{Elsewhere, Mode, Refused, Seen},
    TERMINAL, both, one,
};

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
            (
                "--tests",
                &[
                    (&["--tests", "$TESTS"], Seen("TEST ")),
                    (&["--tests", "$TESTS"], Seen("\"tests\":[{")),
                ],
            ),
            (
                "--compare",
                &[
                    (&["--tests", "$TESTS", "--compare", "numeric:1"], Seen("given")),
                    (
                        &["--tests", "$TESTS", "--compare", "numeric:1"],
                        Seen("wrong answer: line 1: "),
                    ),
                ],
            ),
            (
                "--stop-at-first-failure",
                &both(
                    &["--tests", "$TESTS", "--stop-at-first-failure"],
                    Seen("skipped: test given"),
                ),
            ),
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
        name: "grade",
        modes: &[("one", &["$PACKAGE", "$SCRIPT"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("PACKAGE", &one(&[], Mode)),
            ("SUBMISSIONS", &one(&["$SCRIPT"], Elsewhere("run::grade"))),
            ("--all-in", &one(&["--all-in", "$PACKAGE/submissions/accepted"], Seen("sum.cpp"))),
            ("--verify", &one(&["--verify"], Seen("wrong_answer/int.c"))),
            ("--time-limit", &one(&["--time-limit", "0"], Seen("exit 64"))),
            ("--all-tests", &one(&["--all-tests"], Elsewhere("run::grade"))),
            ("--json", &one(&["--json", "-"], Seen("\"submission\":"))),
            ("--junit", &one(&["--junit", "$OUT"], Seen("left: out-"))),
            ("--fleet", &one(&["--fleet", "--timeout", "1s"], Seen("not_graded"))),
            ("--timeout", &one(&["--timeout", "1s"], Refused)),
            ("--sandbox", &one(&["--sandbox", "docker"], Seen("exit 69"))),
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
        name: "images build",
        modes: &[("named", &["of-no-file"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--directory", &one(&["--directory", "$OUT"], Elsewhere("images"))),
            ("NAMES", &one(&["of-no-file-either"], Elsewhere("the first is unknown"))),
            ("--all", &one(&["--all"], Refused)),
            ("--update", &one(&["--update"], Elsewhere("images"))),
            ("--locks", &one(&["--locks", "$OUT"], Elsewhere("images"))),
        ],
    },
    Command {
        name: "images list",
        modes: &[("plain", &[])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--directory", &one(&["--directory", "$OUT"], Elsewhere("images"))),
            ("--json", &one(&["--json"], Seen("[]"))),
        ],
    },
    Command {
        name: "images verify",
        modes: &[("named", &["none-such"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--directory", &one(&["--directory", "$OUT"], Elsewhere("images"))),
            ("NAMES", &one(&["none-either"], Elsewhere("the first is unknown"))),
            ("--all", &one(&["--all"], Refused)),
        ],
    },
    Command {
        name: "images remove",
        modes: &[("named", &["none-such"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--directory", &one(&["--directory", "$OUT"], Elsewhere("images"))),
            ("NAMES", &one(&["none-either"], Elsewhere("the first is unknown"))),
            ("--unused", &one(&["--unused"], Elsewhere("images"))),
        ],
    },
    Command {
        name: "images export",
        modes: &[("file", &["none-such", "--output", "$OUT"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--directory", &one(&["--directory", "$OUT"], Elsewhere("images"))),
            ("NAME", &one(&[], Mode)),
            ("--output", &one(&[], Mode)),
            ("--dockerfile", &one(&["--dockerfile", "$OUT"], Refused)),
        ],
    },
    Command {
        name: "images import",
        modes: &[("named", &["none-such"])],
        rows: &[
            ("--config", &one(BAD, BAD_SEEN)),
            ("--directory", &one(&["--directory", "$OUT"], Elsewhere("images"))),
            ("NAMES", &one(&["none-either"], Elsewhere("the first is unknown"))),
            ("--all", &one(&["--all"], Refused)),
        ],
    },
    Command {
        name: "exporter",
        // Without the flag it goes on: fleet::exporter.
        modes: &[("once", &["--once"])],
        rows: &[("--config", &one(BAD, BAD_SEEN)), ("--once", &one(&[], Mode))],
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
