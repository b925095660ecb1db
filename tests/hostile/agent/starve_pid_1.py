# PID 1 is the same user: may a program take its limits, its urgency or its processors away, or steer it otherwise?
import ctypes, os, platform, resource, sys, threading
L = ctypes.CDLL(None, use_errno=True); L.syscall.restype = ctypes.c_long
X = platform.machine() == "x86_64"
def sc(x, arm, *a):
    if L.syscall(ctypes.c_long(x if X else arm), *[ctypes.c_long(v) if isinstance(v, int) else v for v in a]) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
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
mine = os.sched_getaffinity(0); one = (ctypes.c_ulong * 16)(1 << min(mine))
attempt("sched_setaffinity", lambda: os.sched_setaffinity(1, {min(mine)}))
# The kernel looks at 32 bits of the number.
attempt("sched_setaffinity of 64 bits", lambda: sc(203, 122, 1 << 32 | 1, 128, one))
parameter, attributes = ctypes.c_int(0), (ctypes.c_uint * 14)(56, 3)
attempt("sched_setparam", lambda: sc(142, 118, 1, ctypes.byref(parameter)))
attempt("sched_setattr", lambda: sc(314, 274, 1, attributes, 0))
attempt("ioprio_set", lambda: sc(251, 30, 1, 1, 3 << 13))
buffer = ctypes.create_string_buffer(8); vector = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8)
attempt("process_vm_readv", lambda: sc(310, 270, 1, vector, 1, vector, 1, 0))
attempt("process_vm_writev", lambda: sc(311, 271, 1, vector, 1, vector, 1, 0))
attempt("kcmp", lambda: sc(312, 272, 1, 1, 1, 0, 0))
attempt("move_pages", lambda: sc(279, 239, 1, 0, 0, 0, 0, 0))
attempt("migrate_pages", lambda: sc(256, 238, 1, 64, one, one))
attempt("get_robust_list", lambda: sc(274, 100, 1, one, one))
attempt("setpgid", lambda: os.setpgid(1, 1))
clock, moment = ~1 << 3 | 2, (ctypes.c_long * 2)(0, 1)
attempt("timer by its CPU clock", lambda: sc(222, 107, clock, 0, one))
attempt("sleep by its CPU clock", lambda: sc(230, 115, clock, 0, moment, 0))
# What programs do with themselves goes on: of the process, and of a thread by its number.
os.sched_setaffinity(0, mine)
def pinned(): os.sched_setaffinity(threading.get_native_id(), {min(mine)})
thread = threading.Thread(target=pinned); thread.start(); thread.join()
open("artifact", "w").write("made")
print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
