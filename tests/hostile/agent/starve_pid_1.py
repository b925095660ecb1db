# PID 1 is the same user: may a program take its limits or its urgency away?
import os, resource, sys
bad = []
def attempt(name, call):
    try: call()
    except OSError as error: print("note:", name, error.strerror, flush=True)
    else: bad.append(name); print("BREACH:", name, flush=True)
nothing = os.sched_param(0)
for limit in ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_FSIZE", "RLIMIT_CPU"):
    attempt("prlimit " + limit, lambda: resource.prlimit(1, getattr(resource, limit), (0, 0)))
attempt("sched_setscheduler", lambda: os.sched_setscheduler(1, os.SCHED_IDLE, nothing))
attempt("setpriority of the process", lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
attempt("setpriority of the group", lambda: os.setpriority(os.PRIO_PGRP, 0, 19))
attempt("setpriority of the user", lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19))
open("artifact", "w").write("made")
print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
