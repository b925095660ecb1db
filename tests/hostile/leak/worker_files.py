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
for r in ("/", "/opt", "/srv", "/etc", "/run", "/var/lib", "/mnt", "/host"):
    try:
        for x in os.listdir(r):
            # The public agent (in an image) and the module that Python imports, and nothing else under this name.
            there = lambda: {n for d, _, names in os.walk("/sandfleet") for n in (d, *names)}
            if os.path.join(r, x) == "/sandfleet" and there() <= {"/sandfleet", "agent", "/sandfleet/python", "sitecustomize.abi3.so"}: continue
            if any(k in x.lower() for k in ("sandfleet", "worker.toml", "amqp", "rabbitmq")): breach(os.path.join(r, x))
    except OSError: pass
done()
