#!/usr/bin/python3
"""What tests/census/run runs inside the machine, as root: for each row a job that makes as many objects as it may, and
what that costs the host beyond what is counted for the job. A line `row {…}` for each, as JSON.

  meter.py [--limits caps|defaults] [--sandbox native|docker|gvisor] [--worker PROGRAM] [--processes MOST]
      [--end-at ROW=MIB]… ROW…

The meter ends a job that takes so much of the host that the machine would die, more uncounted than the table needs,
or as much as --end-at says."""

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

from host import counted_mib, drop_caches, memory_info, settled, shared, used_of_shared
from jobs import Worker, makers_job, plain_job
from rows import BY_NAME, NULL

LONGEST_SECONDS = 240
ENOUGH_MIB = 200      # that nothing counts: three times the bound, and more would only take longer
LEAST_FREE_MIB = 250  # of the machine, or its kernel ends what it likes


def makers():
    """The processes of the program that makes objects, and what they are called: `census held` is the first of them when
    none makes any more."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                name = (path / "comm").read_text().strip()
            except OSError:
                continue  # ended meanwhile
            if name.startswith("census"):
                yield int(path.name), name


def signal_makers(number):
    for pid, _ in list(makers()):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # ended meanwhile


def run_second(worker):
    """Whether another job starts and runs meanwhile, and how long that takes."""
    begun = time.monotonic()
    result = worker.wait(worker.submit(plain_job()), 120)
    if result is None:
        outcome = "no result in 120 s"
    else:
        verdict = result.get("verdict") or result["status"]
        outcome = verdict if verdict == "accepted" else f"{verdict}: {result.get('message')}"
    return {"outcome": outcome, "seconds": round(time.monotonic() - begun, 1)}


class Watch:
    """A job that makes objects, from its start to its end: the sample with the most that wasn't counted."""

    def __init__(self, worker, job):
        self.worker = worker
        self.memory, self.counted, self.shared = settled(), counted_mib(), shared()
        self.worst, self.most_counted, self.most_drop = {"uncounted_mib": -1e9}, 0, 0
        self.most_shared, self.second, self.ended_by_meter = {}, None, False
        self.begun = time.monotonic()
        self.name = worker.submit(job)

    def seconds(self):
        return time.monotonic() - self.begun

    def sample(self):
        # Counted before and after, since what a job leaves at its end is freed while this is read.
        counted = counted_mib()
        now = memory_info()
        counted = max(counted, counted_mib()) - self.counted
        drop = self.memory["MemAvailable"] - now["MemAvailable"]
        self.most_drop = max(self.most_drop, drop)
        self.most_counted = max(self.most_counted, counted)
        if drop - counted > self.worst["uncounted_mib"]:
            self.worst = {"uncounted_mib": drop - counted, "drop_mib": drop, "counted_mib": counted,
                          "slab_mib": now["Slab"] - self.memory["Slab"], "after_seconds": self.seconds()}
        return drop, drop - counted, now["MemAvailable"]

    def look_at_shared(self):
        for what, percent in used_of_shared(self.shared, shared()).items():
            self.most_shared[what] = max(percent, self.most_shared.get(what, 0))

    def until_end(self, end_at):
        samples = 0
        while (result := self.worker.result(self.name)) is None:
            drop, uncounted, free = self.sample()
            if not self.ended_by_meter and (drop > end_at or uncounted > ENOUGH_MIB or free < LEAST_FREE_MIB):
                self.look_at_shared()
                self.ended_by_meter = True
                signal_makers(signal.SIGTERM)
            samples += 1
            if self.seconds() > 1.5 * LONGEST_SECONDS:
                signal_makers(signal.SIGKILL)
            elif samples % 5 == 0 and not self.ended_by_meter:
                if self.seconds() > LONGEST_SECONDS or any(name == "census held" for _, name in makers()):
                    self.held()
            if self.seconds() > 2 * LONGEST_SECONDS:
                raise RuntimeError("the job doesn't end")
            time.sleep(0.5)
        return result

    def held(self):
        """No more are made: whether another job runs beside them, and then the end."""
        self.look_at_shared()
        if self.second is None:
            self.second = run_second(self.worker)
        signal_makers(signal.SIGUSR1)
        signal_makers(signal.SIGTERM)  # those that still make some


def seconds_to_free(memory):
    """Counts memory that the kernel would reclaim on demand as free, as before the job."""
    begun = time.monotonic()
    while memory["MemAvailable"] - memory_info()["MemAvailable"] > 24:
        if time.monotonic() - begun > 60:
            return None
        time.sleep(0.25)
        drop_caches()
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
        watch = Watch(worker, makers_job(row, options.limits, options.processes))
        result = watch.until_end(end_at)
        freed = seconds_to_free(watch.memory)
    finally:
        Path("/proc/sys/vm/nr_hugepages").write_text("0")
    lines = re.findall(r"^\d+: (\d+) (.*)$", (result.get("run") or {}).get("stdout", ""), re.MULTILINE)
    made = sum(int(count) for count, _ in lines)
    usage = result.get("usage") or {}
    # A job that ended before the first sample took nothing that could be seen.
    worst = {"uncounted_mib": 0, "drop_mib": 0, "counted_mib": 0, "slab_mib": 0, "after_seconds": 0} | (
        watch.worst if "drop_mib" in watch.worst else {})
    return {key: round(value, 1) for key, value in worst.items()} | {
        "row": row.name, "kernel": os.uname().release, "limits": options.limits, "sandbox": options.sandbox, "worker": Path(options.worker).name,
        "made": made, "object_bytes": round(watch.most_drop * (1 << 20) / made) if made else None,
        "most_counted_mib": round(watch.most_counted, 1),
        "stops": dict(Counter(why for _, why in lines).most_common(4)),
        "outcome": result.get("verdict") or result["status"], "message": result.get("message"),
        "limits_hit": [hit["limit"] for hit in result.get("limits_hit") or []],
        "cpu_seconds": round((usage.get("cpu_time_ms") or 0) / 1000, 1), "calibration_us": calibration,
        "peak_mib": round((usage.get("memory_peak_bytes") or 0) / (1 << 20)),
        "freed_seconds": freed,
        "left_mib": round(watch.memory["MemAvailable"] - memory_info()["MemAvailable"], 1),
        "shared": watch.most_shared, "second": watch.second, "ended_by_meter": watch.ended_by_meter,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limits", default="caps")
    parser.add_argument("--sandbox", default="native")
    parser.add_argument("--worker", default="/usr/local/bin/sandfleet")
    parser.add_argument("--end-at", action="append", default=[])
    parser.add_argument("--processes", type=int)
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
