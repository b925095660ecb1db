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
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0)); udp.connect(udp.getsockname())
def send(s, flags, how):
    try: how(s, flags); return 0, 0
    except OSError as e: return -1, e.errno
def mmsg(s, flags):
    data = ctypes.create_string_buffer(b"x"); vec = (ctypes.c_void_p * 2)(ctypes.addressof(data), 1)
    message = (ctypes.c_long * 8)(0, 0, ctypes.addressof(vec), 1, 0, 0, 0, 0)
    r, e = sc(307, 269, s.fileno(), ctypes.addressof(message), 1, flags)
    if r < 0: raise OSError(e, "")
ways = [("sendto", lambda s, f: s.send(b"x", f)), ("sendmsg", lambda s, f: s.sendmsg([b"x"], [], f)), ("sendmmsg", mmsg)]
for name, how in ways:
    refused("MSG_MORE by %s" % name, send(udp, 0x8000, how), errno.EOPNOTSUPP, errno.EPERM)
    refused("MSG_OOB by %s" % name, send(a, 1, how), errno.EPERM)
    refused("MSG_ZEROCOPY by %s" % name, send(udp, 0x4000000, how), errno.EPERM)
    if send(udp, 0x4040, how)[0] < 0: breach("%s does not work at all" % name)
done()
