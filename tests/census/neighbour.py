#!/usr/bin/python3
"""Inside the machine, as root: something of the host's takes all of its memory, while a job holds most of what it may.
The kernel ends the job, and that is no fault of the job's. Prints a line `check`."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from host import counted_mib

WORKER = sys.argv[1] if len(sys.argv) > 1 else "/usr/local/bin/sandfleet"
JOB = """import time
held = bytearray(150 << 20)
for at in range(0, len(held), 4096): held[at] = 1
time.sleep(200)
"""
# Until a process is killed, which is not this one: the kernel spares it, as its parent.
TAKER = """import time
taken = []
while not any("oom_kill " in line and int(line.split()[1]) for line in open("/proc/vmstat")):
    taken.append(bytearray(b"x") * (8 << 20))
"""


def main():
    program = Path(tempfile.mkdtemp()) / "neighbour.py"
    program.write_text(JOB)
    limits = ["--limit", "wall_time_ms=300000", "--limit", "cpu_time_ms=300000", "--limit", f"memory_bytes={256 << 20}"]
    job = subprocess.Popen([WORKER, "run", "--json", *limits, str(program)], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    Path("/proc/self/oom_score_adj").write_text("-1000")  # the job's own is as it was
    while counted_mib() < 150 and job.poll() is None:
        time.sleep(0.5)
    if job.poll() is not None:
        out, errors = job.communicate()
        print(f"check FAILED: the neighbour didn't run: {out[:300]} {errors[-300:]}", flush=True)
        return
    subprocess.run([sys.executable, "-c", TAKER], check=False)
    out, errors = job.communicate()
    result = json.loads(out)
    message = result.get("message") or ""
    if result["status"] == "error" and "the host ran out of memory" in message:
        print("check ok", flush=True)
    else:
        seen = result.get("verdict") or result["status"]
        print(f"check FAILED: the neighbour ended as {seen}: {message} {errors[-300:]}", flush=True)


main()
