#!/usr/bin/python3
"""What tests/vm/run runs inside the machine that it boots, as root: the native sandbox from every place that systemd
starts programs in, what a worker leaves that is killed, and the hostile programs. Prints a line a check and a sum."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from corpus import HOSTILE, check_group, check_pairs
from machine import (BINARY, GROUPS, PLACES, TIME, USER, WITHOUT_LOGIN, WORK, batch, check, check_nothing_is_left, counts,
                     eventually, launchers, mounts, run, say, without_login, worker_groups, workers, write)


# ---- verdicts, counters, slots ---------------------------------------------------------------------------------------

def python(name, code, **limits):
    return {"job_id": name, "language": "python", "code": code, "limits": TIME | limits}


def bash(name, code, **limits):
    return {"job_id": name, "language": "bash", "code": code, "limits": TIME | limits}


SPIN = "n = 0\nwhile n < 3_000_000: n += 1\n"

# A job, its verdict, and what else has to be true of its result.
VERDICTS = [
    (bash("accepted", "echo hello; cat /proc/self/cgroup"), "accepted",
     lambda r: r["run"]["stdout"] == "hello\n0::/\n" and not r.get("limits_hit")),
    (bash("exit_3", "exit 3"), "runtime_error", lambda r: r["exit_code"] == 3),
    (bash("wall_time", "sleep 300", wall_time_ms=2000), "time_limit_exceeded",
     lambda r: "wall_time_ms = 2000" in r["message"] and r["usage"]["cpu_time_ms"] < 2000),
    # Two processes together: neither of them alone uses as much in that time.
    (python("cpu_time", "import os\nos.fork()\nwhile True: pass", cpu_time_ms=3000), "time_limit_exceeded",
     lambda r: "cpu_time_ms = 3000" in r["message"]),
    # One processor at most keeps time: CPU and real time are about the same, with a killed child counted.
    (python("cpu_counted", f"import os\nif os.fork():\n os.wait()\nelse:\n exec({SPIN!r}); os.kill(os.getpid(), 9)"),
     "accepted", lambda r: r["usage"]["cpu_time_ms"] >= 200),
    (python("memory", "x = b'x' * (200 << 20)", memory_bytes=64 << 20), "memory_limit_exceeded", lambda r: True),
    (python("memory_of_a_child", "import os, time\nif not os.fork(): x = b'x' * (200 << 20)\nos.wait(); time.sleep(1)",
            memory_bytes=64 << 20), "memory_limit_exceeded", lambda r: True),
    (python("peak", "x = b'x' * (50 << 20)"), "accepted",
     lambda r: 50 << 20 <= r["usage"]["memory_peak_bytes"] < 80 << 20),
    (bash("small_peak", "exit 0"), "accepted", lambda r: 0 < r["usage"]["memory_peak_bytes"] < 20 << 20),
    (bash("output", "yes", output_bytes=65536) | {"output_overflow": "kill"}, "output_limit_exceeded",
     lambda r: len(r["run"]["stdout"]) == 65536),
    (bash("processes", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait; exit 0", processes=4), None,
     lambda r: r["limits_hit"] == [{"limit": "processes", "value": 4}]),
    (python("scratch", "open('f', 'wb').write(b'x' * (2 << 20))", scratch_bytes=1 << 20), "runtime_error",
     lambda r: "No space left" in r["run"]["stderr"]),
    (bash("privileges", "grep -E '^(Cap(Eff|Bnd|Prm)|NoNewPrivs|Seccomp):' /proc/self/status"), "accepted",
     lambda r: r["run"]["stdout"].split() == (
         "CapPrm: 0000000000000000 CapEff: 0000000000000000 CapBnd: 0000000000000000 "
         "NoNewPrivs: 1 Seccomp: 2").split()),
]


def check_verdicts(place, prefix, slots):
    results = batch(prefix, [job for job, _, _ in VERDICTS], slots)
    for job, verdict, holds in VERDICTS:
        result = results[job["job_id"]]
        fault = None
        try:
            if verdict not in (None, result.get("verdict")) or not holds(result):
                fault = "saw " + json.dumps(result)
        except KeyError as missing:
            fault = f"no {missing} in {json.dumps(result)}"
        say(f"{place}: {job['job_id']}", fault)


def check_slots(place, prefix, slots):
    jobs = [bash(f"slot_{n}", "date +%s%N; sleep 8; date +%s%N") for n in range(4)]
    spans = [list(map(int, result["run"]["stdout"].split())) for result in batch(prefix, jobs, 4).values()]
    at_once = max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
    check(f"{place}: {slots} of 4 jobs run at a time", at_once == slots, f"{at_once}: {spans}")


def check_kill(place, prefix, mounts_before):
    """A worker is killed while a program runs: all of it goes, and the next one works."""
    script = write("sleeper.sh", "echo started; sleep 600")
    limit = ["--limit", "wall_time_ms=600000"]
    command = [*prefix, BINARY, "run", *limit, script]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as job:
        started = job.stdout.readline() == b"started\n"
        there = workers(), launchers()
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
    check(f"{place}: a program runs when its worker is killed", started and all(there), (started, there))
    check_nothing_is_left(f"{place}: a killed worker leaves nothing", mounts_before)


# Ways into the kernel that a filter of system calls of x86-64 alone would miss.
DOORS = r"""#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **words) {
    long answer = 20;
    if (words[1][0] == 'i') __asm__ volatile("int $0x80" : "+a"(answer) : : "memory");
    else answer = syscall(0x40000000 | 39);
    puts((int)answer > 0 ? "open" : "shut");
}"""
# What becomes of a program that tries them.
SHUT = {"i386": {"signal": "SIGSYS", "stdout": ""}, "x32": {"signal": None, "stdout": "shut\n"}}


def check_doors():
    """Without a filter all of them lead somewhere on this kernel, so that shut ones are the filter's work."""
    source, program = write("doors.c", DOORS), str(WORK / "doors")
    subprocess.run(["gcc", "-o", program, source], check=True)
    jobs = [{"job_id": door, "language": "c", "code": DOORS, "args": [door], "limits": TIME} for door in SHUT]
    results = batch(PLACES["root, service with Delegate=yes"][0], jobs, 1)
    for door, shut in SHUT.items():
        bare = subprocess.run([*WITHOUT_LOGIN, program, door], capture_output=True, text=True)
        check(f"{door} is open without a filter", bare.stdout == "open\n", bare)
        result = results[door]
        seen = {"signal": result.get("signal"), "stdout": result["run"]["stdout"]}
        check(f"{door} is shut in a container", seen == shut, result)
    probe = write("probe.py", (HOSTILE / "escape/filter_discriminates.py").read_text())
    bare = subprocess.run([*WITHOUT_LOGIN, "SF_CONTROL=1", "python3", probe], capture_output=True, text=True)
    check("all that escape/filter_discriminates calls is in this kernel", "dead rows: none" in bare.stdout, bare)


# ---- what single hosts do --------------------------------------------------------------------------------------------

def sysctl(name, value):
    Path("/proc/sys", *name.split(".")).write_text(value)


def check_refusal(name, prefix, *parts):
    ran = run(prefix, "run", write("never.sh", "echo never"))
    told = ran.returncode == 71 and not ran.stdout and all(part in ran.stderr for part in parts)
    check(name, told, (ran.returncode, ran.stdout, ran.stderr))


def check_reaping():
    """Below a group of an administrator's, where systemd cleans nothing up."""
    parent = GROUPS / "fleet"
    parent.mkdir()
    prefix = ["env", "SANDFLEET_SANDBOX_CGROUP_PARENT=/fleet"]
    command = [*prefix, BINARY, "run", "--limit", "wall_time_ms=600000", write("sleeper.sh", "echo started; sleep 600")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
    gone = eventually(lambda: not launchers())
    left = worker_groups()
    check("a killed worker's processes end without systemd", gone and left, (launchers(), left))
    ran = run(prefix, "run", write("next.sh", "echo next"))
    eventually(lambda: not worker_groups())
    check("the next run reaps its groups", ran.stdout == "next\n" and not worker_groups(), (ran, worker_groups()))
    parent.rmdir()


def check_stop():
    """A plain service's program runs in a scope, and yet the service's stop ends it."""
    script = write("sleeper.sh", "echo started; sleep 600")
    command = [BINARY, "run", "--limit", "wall_time_ms=600000", script]
    subprocess.run(["systemd-run", "--quiet", "--unit=stopped", *command], check=True)
    there = eventually(lambda: subprocess.run(["pgrep", "-x", "sleep"], capture_output=True).returncode == 0)
    subprocess.run(["systemctl", "stop", "stopped"], check=True)
    check("stopping a plain service ends its program", there and not workers() and not launchers(),
          (there, workers(), launchers()))


def check_swap():
    file = "/srv/swap"
    subprocess.run(["sh", "-ec", f"fallocate -l 512M {file}; chmod 600 {file}; mkswap -q {file}; swapon {file}"],
                   check=True, capture_output=True)
    job = python("swap", "x = b'x' * (200 << 20)", memory_bytes=64 << 20)
    result = batch(PLACES["root, service with Delegate=yes"][0], [job], 1)["swap"]
    check("swap adds nothing to the memory limit", result["verdict"] == "memory_limit_exceeded", result)
    subprocess.run(["swapoff", file], check=True)


def check_hosts():
    user = PLACES["user, login"][0]
    check_refusal("a user without a manager is told of loginctl", without_login("bob"), '"control groups"',
                  "loginctl enable-linger")
    without_systemd_run = ["systemd-run", "--quiet", "--wait", "--pipe", "--setenv=PATH=/nonexistent"]
    check_refusal("a plain service without systemd-run is told of Delegate=yes", without_systemd_run,
                  '"control groups"', "Delegate=yes in its unit")

    sysctl("kernel.unprivileged_userns_clone", "0")
    check_refusal("without unprivileged user namespaces a user is told so", user, '"user namespace"',
                  "kernel.unprivileged_userns_clone")
    ran = run(PLACES["root, plain service"][0], "run", write("root.sh", "echo root"))
    check("without unprivileged user namespaces root goes on", ran.stdout == "root\n", ran)
    sysctl("kernel.unprivileged_userns_clone", "1")

    # As systemd before version 252 does by itself.
    settings = Path("/run/systemd/system/user@.service.d")
    settings.mkdir(parents=True)
    (settings / "old.conf").write_text("[Service]\nDelegate=\nDelegate=pids memory\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "restart", "user@1000"], check=True)
    check_refusal("a user whom systemd gives no cpu is told how to get it", WITHOUT_LOGIN, "isn't offered cpu",
                  "user@.service")


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run(["loginctl", "enable-linger", USER], check=True)
    eventually(lambda: Path("/run/user/1000/systemd/private").exists())
    print(f"== {os.uname().release}, {Path('/sys/kernel/security/lsm').read_text()}", flush=True)
    before = mounts()
    begun = time.monotonic()

    def group(what, *arguments):
        try:
            what(*arguments)
        except Exception as error:  # one that can't be finished is a check that failed, not the end of the others
            say(f"{what.__name__} {arguments[:1]}", f"{type(error).__name__}: {error}")
        print(f"== {what.__name__}: {time.monotonic() - begun:.0f} s", flush=True)

    for place, (prefix, slots) in PLACES.items():
        doctor = run(prefix, "doctor")
        check(f"{place}: doctor", doctor.returncode == 0 and "MISSING" not in doctor.stdout.split("docker ")[0],
              (doctor.stdout, doctor.stderr))
        group(check_verdicts, place, prefix, slots)
        group(check_slots, place, prefix, slots)
        group(check_kill, place, prefix, before)
    group(check_reaping)
    group(check_stop)
    group(check_swap)
    group(check_doors)
    for place in ["root, service with Delegate=yes", "user, login"]:
        prefix, slots = PLACES[place]
        for name in ["escape", "leak"] + (["agent", "artifacts", "exhaust"] if slots > 1 else []):
            group(check_group, place, prefix, name, min(slots, 2))
        group(check_pairs, place, prefix)
        check_nothing_is_left(f"{place}: hostile programs leave nothing", before)
    group(check_hosts)
    check_nothing_is_left("nothing is left in the end", before)
    print(f"checks: {counts['ok']} ok, {counts['FAILED']} failed, {time.monotonic() - begun:.0f} s", flush=True)
    sys.exit(counts["FAILED"] > 0)


main()
