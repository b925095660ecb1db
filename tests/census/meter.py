#!/usr/bin/python3
"""What tests/census/run runs inside the machine, as root: for each row a job that makes as many objects as it may, and
what that costs the host beyond what is counted for the job. A line `row {…}` for each, as JSON.

  meter.py [--limits caps|defaults] [--sandbox native|docker] [--worker PROGRAM] [--ceiling MIB] ROW…

At the ceiling the meter ends the job, so that the machine lives."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from host import counted_mib, cpu_seconds, memory_info, settled, shared, used_of_shared
from rows import BY_NAME, LIMITS, NULL, TIME_MS

WORK = Path(tempfile.mkdtemp())
STILL_SECONDS = 4     # a job that used no CPU time for so long makes nothing any more
LONGEST_SECONDS = 500
LEAST_FREE_MIB = 250  # of the machine, or its kernel ends what it likes


def write(name, text):
    path = WORK / name
    path.write_text(text)
    return str(path)


SECOND = write("second.py", 'print("second")\n')
START = write("start.sh", 'chmod +x census\nexec ./census "$@"\n')


def command(options, limits, *rest):
    words = [options.worker, "run", "--json", "--sandbox", options.sandbox]
    for name, value in limits.items():
        words += ["--limit", f"{name}={value}"]
    return words + list(rest)


def makers():
    """The processes of the program that makes them."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if (path / "comm").read_text() == "census\n":
                    yield int(path.name)
            except OSError:
                pass  # ended meanwhile


def signal_makers(number):
    for pid in list(makers()):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def run_second(options):
    """Whether another job starts and runs meanwhile, and how long that takes."""
    begun = time.monotonic()
    try:
        ran = subprocess.run(command(options, {}, SECOND), capture_output=True, text=True, stdin=subprocess.DEVNULL,
                             timeout=120)
        result = json.loads(ran.stdout)
        outcome = result.get("verdict") or f"{result['status']}: {result.get('message')}"
    except subprocess.TimeoutExpired:
        outcome = "no answer in 120 s"
    except ValueError:
        outcome = f"exit code {ran.returncode}: {ran.stderr[-300:]}"
    return {"outcome": outcome, "seconds": round(time.monotonic() - begun, 1)}


class Job:
    """A job that makes objects, while it runs."""

    def __init__(self, row, options):
        limits = LIMITS[options.limits] | {"wall_time_ms": TIME_MS, "cpu_time_ms": TIME_MS}
        processes = row.processes or limits["processes"] - 6
        arguments = [row.kind, processes, TIME_MS // 1000, row.first, row.second]
        words = ["--file", str(Path(__file__).with_name("census"))]
        words += [word for argument in arguments for word in ("--arg", str(argument))]
        self.child = subprocess.Popen(command(options, limits, *words, START), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        self.out, self.errors = self.child.communicate()

    def runs(self):
        return self.thread.is_alive()

    def result(self):
        try:
            return json.loads(self.out)
        except ValueError:
            return {"status": "none", "message": f"exit code {self.child.returncode}: {self.errors[-400:]}"}


def watch(job, options, before, shared_before):
    """Until the job makes nothing any more or has ended: the sample with the most that wasn't counted."""
    worst = {"uncounted_mib": -1e9}
    most_shared, second, ended_by_meter = {}, None, False
    begun = still_since = time.monotonic()
    cpu_then = 0
    while job.runs():
        now = memory_info()
        counted = counted_mib()
        drop = before["MemAvailable"] - now["MemAvailable"]
        if drop - counted > worst["uncounted_mib"]:
            worst = {"uncounted_mib": drop - counted, "drop_mib": drop, "counted_mib": counted,
                     "slab_mib": now["Slab"] - before["Slab"]}
        for name, percent in used_of_shared(shared_before, shared()).items():
            most_shared[name] = max(percent, most_shared.get(name, 0))
        if not ended_by_meter and (drop - counted > options.ceiling or now["MemAvailable"] < LEAST_FREE_MIB):
            ended_by_meter = True
            signal_makers(signal.SIGKILL)
        cpu = cpu_seconds()
        if cpu - cpu_then > 0.02 * STILL_SECONDS or not cpu:
            still_since, cpu_then = time.monotonic(), cpu
        over = time.monotonic() - begun > LONGEST_SECONDS
        if not ended_by_meter and (over or time.monotonic() - still_since > STILL_SECONDS):
            if second is None:
                second = run_second(options)
            signal_makers(signal.SIGUSR1)
        if time.monotonic() - begun > LONGEST_SECONDS + 200:
            raise RuntimeError("the job doesn't end")
        time.sleep(0.25)
    return worst, most_shared, second, ended_by_meter


def seconds_to_free(before):
    begun = time.monotonic()
    while before["MemAvailable"] - memory_info()["MemAvailable"] > 24:
        if time.monotonic() - begun > 60:
            return None
        time.sleep(0.25)
    return round(time.monotonic() - begun, 1)


def measure(row, options):
    if row.before == "huge pages":
        Path("/proc/sys/vm/nr_hugepages").write_text("64")
    try:
        before, shared_before = settled(), shared()
        job = Job(row, options)
        worst, most_shared, second, ended_by_meter = watch(job, options, before, shared_before)
        freed = seconds_to_free(before)
    finally:
        Path("/proc/sys/vm/nr_hugepages").write_text("0")
    result = job.result()
    lines = re.findall(r"^\d+: (\d+) (.*)$", (result.get("run") or {}).get("stdout", ""), re.MULTILINE)
    made = sum(int(count) for count, _ in lines)
    usage = result.get("usage") or {}
    peak = max(worst.get("drop_mib", 0), 0)
    return {key: round(value, 1) for key, value in worst.items()} | {
        "row": row.name, "limits": options.limits, "sandbox": options.sandbox, "worker": Path(options.worker).name,
        "made": made, "object_bytes": round(peak * (1 << 20) / made) if made else None,
        "stops": dict(Counter(why for _, why in lines).most_common(4)),
        "outcome": result.get("verdict") or result["status"], "message": result.get("message"),
        "limits_hit": [hit["limit"] for hit in result.get("limits_hit") or []],
        "cpu_seconds": round((usage.get("cpu_time_ms") or 0) / 1000, 1),
        "peak_mib": round((usage.get("memory_peak_bytes") or 0) / (1 << 20)),
        "freed_seconds": freed, "shared": most_shared, "second": second, "ended_by_meter": ended_by_meter,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limits", default="caps", choices=LIMITS)
    parser.add_argument("--sandbox", default="native", choices=["native", "docker"])
    parser.add_argument("--worker", default="/usr/local/bin/sandfleet")
    parser.add_argument("--ceiling", type=int, default=1 << 20)
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    for name in [NULL.name, *options.rows]:
        print("begin", name, flush=True)
        print("row", json.dumps(measure(BY_NAME.get(name, NULL), options)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
