"""Where sandfleet is started on the machine, how its jobs are run there, and what is left of them."""

import json
import os
import subprocess
import time
from pathlib import Path

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
