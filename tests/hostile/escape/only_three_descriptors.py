# A program starts with stdin, stdout and stderr, and with no other descriptor left open.
import fcntl, os, resource
bad = []
for number in range(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
    try: fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError: continue
    try: what = os.readlink("/proc/self/fd/%d" % number)
    except OSError as error: what = error.strerror
    bad.append(number); print("BREACH: descriptor", number, "is open:", what, flush=True)
print("BREACHED" if bad else "CONTAINED", flush=True)
raise SystemExit(42 if bad else 0)
