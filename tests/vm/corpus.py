"""The hostile programs: which of them are run on the machine, and what each has to come to."""

import json
import subprocess
from pathlib import Path

from machine import BINARY, DEADLINE, TIME, batch, batch_file, say

HOSTILE = Path(__file__).resolve().parent / "hostile"

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
    if len(result.get("artifacts_skipped", [])) < entry.get("refused", 0):
        faults.append(f"refused: {result.get('artifacts_skipped')}")
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


def check_pairs(place, prefix, slots=1):
    """A pair that needs both at once is run by two workers where one may run no two jobs."""
    entries = {entry["name"]: entry for entry in corpus("crossjob")}
    for plant in entries.values():
        if plant["pair"] != "plant":
            continue
        pair = [plant, entries[plant["pair_with"]]]
        if plant.get("concurrent") and slots == 1:
            # Both programs start at about the same time.
            files = [batch_file(f"{entry['name']}.jsonl", [hostile_job(entry)]) for entry in pair]
            running = [subprocess.Popen([*prefix, BINARY, "run", "--batch", file], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                       for file in files]
            results = [json.loads(one.communicate(timeout=DEADLINE)[0]) for one in running]
        else:
            at_once = slots if plant.get("concurrent") else 1
            by_name = batch(prefix, [hostile_job(entry) for entry in pair], at_once)
            results = [by_name[entry["name"]] for entry in pair]
        for entry, result in zip(pair, results):
            judge(place, entry, result)
