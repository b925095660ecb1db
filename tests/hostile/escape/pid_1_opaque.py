# PID 1 runs as the same user, and what it holds (the worker's stream, the counters) is not the program's to see.
import ctypes, os
bad = []
def breach(what): bad.append(what); print("BREACH:", what, flush=True)
for name in ("environ", "maps", "mem", "auxv", "io"):
    try: open("/proc/1/" + name, "rb").read(1)
    except OSError as error: print("note:", name, error.strerror)
    else: breach("/proc/1/%s can be read" % name)
try: breach("/proc/1/fd: %s" % os.listdir("/proc/1/fd"))
except OSError as error: print("note: fd", error.strerror)
try: breach("/proc/1/exe is %s" % os.readlink("/proc/1/exe"))
except OSError as error: print("note: exe", error.strerror)
print("BREACHED" if bad else "CONTAINED", flush=True)
raise SystemExit(42 if bad else 0)
