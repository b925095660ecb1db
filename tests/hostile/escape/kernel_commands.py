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
# Each call is made once, and each is one that an unfiltered kernel carries out or refuses with another error.
def refused(what, answer, *wanted):
    r, e = answer
    if r >= 0: breach("%s: %d" % (what, r))
    elif e not in wanted: breach("%s reached the kernel: %s" % (what, en(e)))
    else: note(what, en(e))
import fcntl, struct, time
code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7fff0000), 8)
program = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", 1, ctypes.addressof(code)))
page = L.mmap; page.restype = ctypes.c_void_p; page = page(None, 4096, 3, 0x22, -1, ctypes.c_long(0))
E, I = errno.EPERM, errno.EINVAL
# gVisor answers every refusal with EPERM; elsewhere it is what a kernel without filters says.
refused("PR_SET_SECCOMP", sc(157, 167, 22, 2, ctypes.addressof(program)), E, I)
refused("seccomp", sc(317, 277, 1, 0, ctypes.addressof(program)), E, errno.ENOSYS)
if sc(157, 167, 21)[0] != 2: breach("no filter in force")
status = open("/proc/self/status").read()
if "Seccomp_filters:\t" in status: note("filters", status.split("Seccomp_filters:\t")[1].split()[0])
refused("PR_SET_VMA", sc(157, 167, 0x53564d41, 0, page, 4096, ctypes.c_char_p(b"name")), E, I)
refused("PR_SCHED_CORE", sc(157, 167, 62, 1, 0, 0, 0), E)
refused("PR_SET_TSC", sc(157, 167, 26, 1), E)
f = os.open("/tmp/lease", os.O_RDWR | os.O_CREAT, 0o600); d = os.open("/tmp", os.O_RDONLY); r, w = os.pipe()
for name, fd, command, value in (("F_SETLEASE", f, 1024, 1), ("F_NOTIFY", d, 1026, 4), ("F_SETOWN", r, 8, os.getpid()), ("F_SETSIG", r, 10, 17), ("F_SETPIPE_SZ", w, 1031, 4096), ("F_SET_RW_HINT", f, 1036, 0)):
    refused(name, sc(72, 25, fd, command, value), E)
fcntl.lockf(f, fcntl.LOCK_EX)  # which SQLite needs
lock = ctypes.create_string_buffer(struct.pack("=hhiqqi4x", 1, 0, 0, 0, 1, 0))
refused("F_OFD_SETLK", sc(72, 25, f, 37, ctypes.addressof(lock)), E, I)
refused("CLOSE_RANGE_UNSHARE", sc(436, 436, 1000, 1000, 2), E, I)
refused("FIOASYNC", sc(16, 29, r, 0x5452, ctypes.addressof(program)), E)
refused("FIOSETOWN", sc(16, 29, r, 0x8901, ctypes.addressof(program)), E)
refused("MADV_MERGEABLE", sc(28, 233, page, 4096, 12), E)
refused("MEMBARRIER_CMD_GLOBAL", sc(324, 283, 1, 0, 0), E)
timer = ctypes.create_string_buffer(8)
refused("timer on PID 1's clock", sc(222, 107, (~1 << 3) | 2, 0, ctypes.addressof(timer)), E)
shm = sc(29, 194, 0, 4096, 0o1600)[0]
refused("SHM_LOCK", sc(31, 195, shm, 11, 0), E); sc(31, 195, shm, 0, 0)
done()
