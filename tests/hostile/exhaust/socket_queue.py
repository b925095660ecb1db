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
import socket
# One connection that is never accepted: how much is kept for it? Asking for larger buffers succeeds and changes nothing.
l = socket.socket(); l.setsockopt(1, socket.SO_RCVBUF, 1 << 24); l.bind(("127.0.0.1", 0)); l.listen(4096)
c = socket.socket(); c.setsockopt(1, socket.SO_SNDBUF, 1 << 24); c.connect(l.getsockname()); c.setblocking(False)
sent = idle = 0
import time
while idle < 20 and sent < 16 << 20:
    try: sent += c.send(b"x" * 65536); idle = 0
    except BlockingIOError: idle += 1; time.sleep(0.01)
if sent > 256 << 10: breach("%d KiB wait in one connection" % (sent >> 10))
u = socket.socket(type=socket.SOCK_DGRAM); before = u.getsockopt(1, socket.SO_RCVBUF); u.setsockopt(1, socket.SO_RCVBUF, 1 << 24)
if u.getsockopt(1, socket.SO_RCVBUF) != before: breach("a datagram socket's buffer grew")
# The datagrams that made errors would be kept, too. glibc's resolver asks for that, so it succeeds and does nothing.
rows = [(u, 0, 11)]
if os.path.exists("/proc/self/net/if_inet6"): rows.append((socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), 41, 25))
for s, level, name in rows:
    s.setsockopt(level, name, 1)
    if s.getsockopt(level, name): breach("a queue of errors")
note(sent)
done()
