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

HERE = Path(__file__).resolve().parent
HOSTILE = HERE / "hostile"
WORK = Path("/srv/checks")
GROUPS = Path("/sys/fs/cgroup")
BINARY = "/usr/local/bin/sandfleet"
USER = "ann"
# An emulated processor is slow; what these programs do isn't about time.
TIME = {"wall_time_ms": 120_000, "cpu_time_ms": 120_000}
DEADLINE = 900

counts = {"ok": 0, "FAILED": 0}


def say(name, fault=None):
    mark = "FAILED" if fault else "ok"
    counts[mark] += 1
    print(f"{mark:6} {name}" + (f": {fault}" if fault else ""), flush=True)


def check(name, condition, seen):
    say(name, None if condition else f"saw {seen}")


def service(*properties):
    return ["systemd-run", "--quiet", "--wait", "--pipe", *(f"--property={one}" for one in properties)]


# A login's shell stays in the session's scope beside what it starts.
SHELL = ["sh", "-c", '"$@"; exit $?', "sh"]


def without_login(user):
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "env", "-i", f"PATH={os.environ['PATH']}"]


WITHOUT_LOGIN = without_login(USER)

# Where sandfleet is started, by what, and how many jobs may run at a time there.
PLACES = {
    "root, service with Delegate=yes": (service("Delegate=yes"), 4),
    "root, plain service": (service(), 4),
    "root, login": (service("PAMName=login", "User=root") + SHELL, 4),
    "user, login": (service("PAMName=login", f"User={USER}") + SHELL, 1),
    "user, as by sudo -u": (WITHOUT_LOGIN, 1),
    "user, service with Delegate=yes": (service(f"User={USER}", "Delegate=yes"), 1),
    "user, own plain service": (
        [*WITHOUT_LOGIN, "XDG_RUNTIME_DIR=/run/user/1000", "systemd-run", "--user", "--quiet", "--wait", "--pipe"], 1),
}


def run(prefix, *arguments):
    return subprocess.run([*prefix, BINARY, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE)


def write(name, text):
    path = WORK / name
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def batch_file(name, jobs):
    return write(name, "".join(json.dumps(job | {"version": 1}) + "\n" for job in jobs))


def batch(prefix, jobs, slots):
    """The results by job id."""
    ran = run(prefix, "run", "--batch", batch_file("batch.jsonl", jobs), "--concurrency", str(slots))
    for line in ran.stderr.splitlines():
        if "WARN" in line or "ERROR" in line:
            print("==", line, flush=True)
    results = {result["job_id"]: result for result in map(json.loads, ran.stdout.splitlines())}
    for job in jobs:
        if job["job_id"] not in results:
            raise RuntimeError(f"no result of {job['job_id']}: exit code {ran.returncode}, {ran.stderr[-600:]}")
    return results


# ---- what is left ----------------------------------------------------------------------------------------------------

def processes():
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield int(path.name), (path / "cmdline").read_bytes().split(b"\0"), os.readlink(path / "exe")
            except OSError:
                pass  # ended meanwhile, or a thread of the kernel


def launchers():
    return [pid for pid, command, _ in processes() if command[0].startswith(b"/proc/self/fd/") and b"launch" in command]


def workers():
    return [pid for pid, _, executable in processes() if executable == BINARY]


def worker_groups():
    return [str(path) for path in GROUPS.rglob("sandfleet-worker-*")]


def mounts():
    """Of the host, but for what comes and goes with a session or a service."""
    lines = Path("/proc/1/mountinfo").read_text().splitlines()
    return sorted(line.split(" ", 4)[4] for line in lines if "/run/user/" not in line and "/run/cred" not in line)


def eventually(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return value


def check_nothing_is_left(name, mounts_before):
    left = lambda: {"workers": workers(), "launchers": launchers(), "groups": worker_groups()}
    eventually(lambda: not any(left().values()))
    new = [line for line in mounts() if line not in mounts_before]
    check(name, not any(left().values()) and not new, left() | {"mounts": new})


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


# ---- hostile programs ------------------------------------------------------------------------------------------------

# Those that are about what the kernel counts; the rest of that group is about time.
EXHAUST = """fork_bomb_exp fork_bomb_linear fork_bomb_c mem_many_procs mem_child_oom_parent_ok exit_137_no_oom
    kill_everyone memfd_balloon shm_fill fd_exhaust fd_in_flight pipe_buffers socket_buffers inotify_flood
    sysv_shm_flood double_fork_daemon orphans_exit segv vfork_stall fd_hold
    memory_count process_count core_dump""".split()


def corpus(group):
    entries = json.loads((HOSTILE / "manifest.json").read_text())["entries"]
    chosen = [entry for entry in entries if entry["group"] == group and "native" not in entry.get("not_on", {})]
    return [entry for entry in chosen if group != "exhaust" or entry["name"] in EXHAUST]


def hostile_job(entry):
    job = {"job_id": entry["name"], "language": entry["language"], "code": (HOSTILE / entry["file"]).read_text(),
           "artifacts": ["**"], "limits": dict(TIME)}
    if entry["group"] == "exhaust" and "time_limit_exceeded" in entry["verdicts"]:
        # They go on for as long as they may.
        job["limits"] = {"wall_time_ms": 30_000, "cpu_time_ms": 30_000}
    return job


def judge(place, entry, result):
    """As tests/tests/hostile/corpus.rs does, but for the time it took."""
    outcome = result["status"] if result["status"] == "error" else result.get("verdict", result["status"])
    output = (result.get("run") or {}).get("stdout", "")
    faults = [] if outcome in entry["verdicts"] else [f"{outcome} ({result['message']})"]
    faults += [f"did not print {wanted!r}" for wanted in entry.get("must_contain", []) if wanted not in output]
    faults += [line for bad in entry.get("must_not_contain", []) for line in output.splitlines() if bad in line]
    faults += [f"{name} did not come back" for name in entry.get("artifacts", [])
               if name not in [artifact["name"] for artifact in result.get("artifacts", [])]]
    if len(result.get("artifacts_refused", [])) < entry.get("refused", 0):
        faults.append(f"refused: {result.get('artifacts_refused')}")
    hit = [one["limit"] for one in result.get("limits_hit", [])]
    faults += [f"limits_hit without {wanted}: {hit}" for wanted in entry.get("limits_hit", []) if wanted not in hit]
    say(f"{place}: {entry['group']}/{entry['name']}", "; ".join(faults))


# What can't hold for users, and why.
NOT_WITHOUT_ROOT = {"mount_options": "only root may make devices; those lent by the host show its devtmpfs's size"}


def check_group(place, prefix, group, slots):
    entries = corpus(group)
    if slots == 1:
        for entry in entries:
            if entry["name"] in NOT_WITHOUT_ROOT:
                print(f"== {place}: {entry['name']} is not run: {NOT_WITHOUT_ROOT[entry['name']]}", flush=True)
        entries = [entry for entry in entries if entry["name"] not in NOT_WITHOUT_ROOT]
    results = batch(prefix, [hostile_job(entry) for entry in entries], slots)
    for entry in entries:
        judge(place, entry, results[entry["name"]])


def check_pairs(place, prefix):
    entries = {entry["name"]: entry for entry in corpus("crossjob")}
    for plant in entries.values():
        if plant["pair"] != "plant":
            continue
        pair = [plant, entries[plant["pair_with"]]]
        if plant.get("concurrent"):
            # Two workers, so that it works without root too; both programs start at about the same time.
            files = [batch_file(f"{entry['name']}.jsonl", [hostile_job(entry)]) for entry in pair]
            running = [subprocess.Popen([*prefix, BINARY, "run", "--batch", file], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                       for file in files]
            results = [json.loads(one.communicate(timeout=DEADLINE)[0]) for one in running]
        else:
            by_name = batch(prefix, [hostile_job(entry) for entry in pair], 1)
            results = [by_name[entry["name"]] for entry in pair]
        for entry, result in zip(pair, results):
            judge(place, entry, result)


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
