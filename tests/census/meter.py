#!/usr/bin/python3
"""What tests/census/run runs inside the machine, as root: for each row a job that makes as many objects as it may, and
what that costs the host beyond what is counted for the job. A line `row {…}` for each, as JSON.

  meter.py [--limits caps|defaults] [--sandbox native|docker] [--worker PROGRAM] [--end-at ROW=MIB]… ROW…

The meter ends a job that takes so much of the host that the machine would die, or as much as --end-at says."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from host import counted_mib, cpu_seconds, memory_info, settled, shared, used_of_shared
from jobs import Worker, makers_job, plain_job
from rows import BY_NAME, NULL

STILL_SECONDS = 4     # a job that used no CPU time for so long makes nothing any more
LONGEST_SECONDS = 420
LEAST_FREE_MIB = 250  # of the machine, or its kernel ends what it likes


def signal_makers(number):
    """To the processes of the program that makes objects."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if (path / "comm").read_text() == "census\n":
                    os.kill(int(path.name), number)
            except OSError:
                pass  # ended meanwhile


def run_second(worker):
    """Whether another job starts and runs meanwhile, and how long that takes."""
    begun = time.monotonic()
    result = worker.wait(worker.submit(plain_job()), 120)
    if result is None:
        outcome = "no result in 120 s"
    else:
        outcome = result.get("verdict") or f"{result['status']}: {result.get('message')}"
    return {"outcome": outcome, "seconds": round(time.monotonic() - begun, 1)}


def watch(worker, name, before, end_at):
    """Until the job makes nothing any more or has ended: the sample with the most that wasn't counted."""
    memory, counted_before, shared_before = before
    worst = {"uncounted_mib": -1e9}
    most_shared, second, ended_by_meter = {}, None, False
    begun = still_since = time.monotonic()
    cpu_then = 0
    while (result := worker.result(name)) is None:
        now, counted = memory_info(), counted_mib() - counted_before
        drop = memory["MemAvailable"] - now["MemAvailable"]
        if drop - counted > worst["uncounted_mib"]:
            worst = {"uncounted_mib": drop - counted, "drop_mib": drop, "counted_mib": counted,
                     "slab_mib": now["Slab"] - memory["Slab"], "seconds": time.monotonic() - begun}
        for what, percent in used_of_shared(shared_before, shared()).items():
            most_shared[what] = max(percent, most_shared.get(what, 0))
        if not ended_by_meter and (drop > end_at or now["MemAvailable"] < LEAST_FREE_MIB):
            ended_by_meter = True
            signal_makers(signal.SIGKILL)
        cpu = cpu_seconds()
        if abs(cpu - cpu_then) > 0.02 * STILL_SECONDS or cpu == 0:
            still_since, cpu_then = time.monotonic(), cpu
        late = time.monotonic() - begun > LONGEST_SECONDS
        if not ended_by_meter and (late or time.monotonic() - still_since > STILL_SECONDS):
            if second is None:
                second = run_second(worker)
            signal_makers(signal.SIGUSR1)
        if time.monotonic() - begun > 2 * LONGEST_SECONDS:
            raise RuntimeError("the job doesn't end")
        time.sleep(0.25)
    return result, worst, most_shared, second, ended_by_meter


def seconds_to_free(memory):
    begun = time.monotonic()
    while memory["MemAvailable"] - memory_info()["MemAvailable"] > 24:
        if time.monotonic() - begun > 60:
            return None
        time.sleep(0.25)
    return round(time.monotonic() - begun, 1)


def calibrate():
    """How fast this machine is just now: compared with the same on hardware by tests/census/table.py."""
    ran = subprocess.run([str(Path(__file__).with_name("census")), "calibrate"], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def measure(row, worker, options, end_at):
    if row.before == "huge pages":
        Path("/proc/sys/vm/nr_hugepages").write_text("64")
    try:
        calibration = calibrate()
        before = settled(), counted_mib(), shared()
        name = worker.submit(makers_job(row, options.limits))
        result, worst, most_shared, second, ended_by_meter = watch(worker, name, before, end_at)
        freed = seconds_to_free(before[0])
    finally:
        Path("/proc/sys/vm/nr_hugepages").write_text("0")
    lines = re.findall(r"^\d+: (\d+) (.*)$", (result.get("run") or {}).get("stdout", ""), re.MULTILINE)
    made = sum(int(count) for count, _ in lines)
    usage = result.get("usage") or {}
    # A job that ended before the first sample took nothing that could be seen.
    worst = {"uncounted_mib": 0, "drop_mib": 0, "counted_mib": 0, "slab_mib": 0, "seconds": 0} | (
        worst if "drop_mib" in worst else {})
    return {key: round(value, 1) for key, value in worst.items()} | {
        "row": row.name, "limits": options.limits, "sandbox": options.sandbox, "worker": Path(options.worker).name,
        "made": made, "object_bytes": round(max(worst["drop_mib"], 0) * (1 << 20) / made) if made else None,
        "stops": dict(Counter(why for _, why in lines).most_common(4)),
        "outcome": result.get("verdict") or result["status"], "message": result.get("message"),
        "limits_hit": [hit["limit"] for hit in result.get("limits_hit") or []],
        "cpu_seconds": round((usage.get("cpu_time_ms") or 0) / 1000, 1), "calibration_us": calibration,
        "peak_mib": round((usage.get("memory_peak_bytes") or 0) / (1 << 20)),
        "freed_seconds": freed, "shared": most_shared, "second": second, "ended_by_meter": ended_by_meter,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limits", default="caps")
    parser.add_argument("--sandbox", default="native")
    parser.add_argument("--worker", default="/usr/local/bin/sandfleet")
    parser.add_argument("--end-at", action="append", default=[])
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    end_at = {row: int(mib) for row, mib in (word.rsplit("=", 1) for word in options.end_at)}
    worker = None
    for name in [NULL.name, *options.rows]:
        if worker is None or worker.ended():
            worker = Worker(options.worker, options.sandbox)
            # What is loaded once is loaded before anything is measured.
            for _ in range(2):
                first = worker.wait(worker.submit(plain_job()), 300)
            print(f"== {options.worker}: {(first or {}).get('verdict') or first}", flush=True)
        print("begin", name, flush=True)
        figures = measure(BY_NAME.get(name, NULL), worker, options, end_at.get(name, 1 << 20))
        print("row", json.dumps(figures), flush=True)
    worker.close()


if __name__ == "__main__":
    sys.exit(main())
