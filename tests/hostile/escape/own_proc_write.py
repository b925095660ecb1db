# What a process may write below its own /proc changes how the kernel treats it. No honest program needs it.
import os, sys
breach = []
for name in ("oom_score_adj", "comm", "coredump_filter", "clear_refs", "timerslack_ns", "loginuid", "sched"):
    try:
        with open("/proc/self/" + name, "w") as file: file.write("1")
        breach.append(name)
    except OSError: pass
if breach: print("BREACH: written /proc/self/", breach, flush=True); sys.exit(42)
print("CONTAINED")
