"""The worker of the machine: jobs go into it and results come out, while it stays."""

import base64
import itertools
import json
import os
import subprocess
import threading
import time
from pathlib import Path

from rows import LIMITS, TIME_MS

NUMBERS = itertools.count()
REFUSED_PROCESSES = 4
START = 'chmod +x census\nexec ./census "$@"\n'


def makers_job(row, limits, most_processes=None):
    """A job that makes the objects of a row."""
    limits = LIMITS[limits] | {"wall_time_ms": TIME_MS, "cpu_time_ms": TIME_MS}
    processes = row.processes or (REFUSED_PROCESSES if row.refused else limits["processes"] - 6)
    processes = min(processes, most_processes or processes)
    program = base64.b64encode(Path(__file__).with_name("census").read_bytes()).decode()
    return {"language": "bash", "code": START, "limits": limits,
            "files": [{"name": "census", "content": program, "encoding": "base64"}],
            "args": [str(word) for word in (row.kind, processes, TIME_MS // 1000, row.first, row.second)]}


def plain_job():
    return {"language": "python", "code": 'print("second")\n', "limits": {"wall_time_ms": TIME_MS}}


class Worker:
    def __init__(self, program, sandbox):
        backend, runtime = {"gvisor": ("docker", "runsc")}.get(sandbox, (sandbox, "runc"))
        command = [program, "run", "--batch", "-", "--concurrency", "2", "--sandbox", backend]
        self.errors = open("worker.log", "a+")
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                      text=True, env=os.environ | {"SANDFLEET_SANDBOX_RUNTIME": runtime})
        self.results = {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            result = json.loads(line)
            self.results[result["job_id"]] = result

    def submit(self, job):
        name = f"job-{next(NUMBERS)}"
        try:
            self.child.stdin.write(json.dumps(job | {"version": 1, "job_id": name}) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which the result says
        return name

    def result(self, name):
        """The result when there is one; an error when the worker has ended without."""
        if name not in self.results and self.child.poll() is not None:
            time.sleep(1)  # what it said last is read meanwhile
            self.errors.seek(0)
            words = self.errors.read()[-500:]
            return self.results.get(name) or {"status": "none",
                                              "message": f"the worker ended, {self.child.returncode}: {words}"}
        return self.results.get(name)

    def wait(self, name, seconds):
        end = time.monotonic() + seconds
        while not (result := self.result(name)) and time.monotonic() < end:
            time.sleep(0.1)
        return result

    def ended(self):
        return self.child.poll() is not None

    def close(self):
        self.child.stdin.close()
        self.child.wait()
