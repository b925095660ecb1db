import ctypes, errno, os, sys, platform
L = ctypes.CDLL(None, use_errno=True); L.syscall.restype = ctypes.c_long
X = platform.machine() == "x86_64"; bad = []
def sc(nx, na, *a):
    n = nx if X else na
    if n < 0: return -1, errno.ENOSYS
    ctypes.set_errno(0)
    r = L.syscall(ctypes.c_long(n), *[ctypes.c_long(v) if isinstance(v, int) else v for v in a])
    return r, ctypes.get_errno()
def en(e): return errno.errorcode.get(e, str(e))
def breach(m): bad.append(m); print("BREACH:", m, flush=True)
def note(*m): print("note:", *m, flush=True)
def done(): print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
t = open("/proc/self/mountinfo").read()
for l in t.splitlines():
    for k in ("upperdir=", "/home/", "/root/", "sandfleet", "/var/run/docker"):
        if k in l: note("host path", l[:160]); break
w = [l.split()[4] for l in t.splitlines() if " rw," in l.split(" - ")[0]]
note("writable mounts", w)
for m in w:
    # On version 1 Docker mounts a directory of mount points here, which is root's.
    if m == "/sys/fs/cgroup" and not os.access(m, os.W_OK): continue
    if m not in ("/tmp", "/var/tmp", "/dev/shm", "/dev", "/dev/pts", "/dev/mqueue", "/proc", "/w", "/job", "/workspace", "/box", "/home/sandbox", "/run") and not m.startswith(("/proc", "/dev", "/w")): breach("unexpected rw mount " + m)
done()
