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
import struct
f = os.open("/tmp/file", os.O_RDWR | os.O_CREAT, 0o600); me = os.getuid()
entries = [(1, 6, -1), (2, 4, me), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries)
value = ctypes.create_string_buffer(acl, len(acl)); name = ctypes.c_char_p(b"system.posix_acl_access"); path = ctypes.c_char_p(b"/tmp/file")
for what, nx, na, target in (("setxattr", 188, 5, path), ("lsetxattr", 189, 6, path), ("fsetxattr", 190, 7, f)):
    refused(what, sc(nx, na, target, name, ctypes.addressof(value), len(acl), 0), errno.EOPNOTSUPP)
    refused(what + " user.", sc(nx, na, target, ctypes.c_char_p(b"user.x"), ctypes.addressof(value), 1, 0), errno.EOPNOTSUPP)
arguments = (ctypes.c_uint64 * 2)(ctypes.addressof(value), len(acl))
refused("setxattrat", sc(463, 463, -100, path, 0, name, ctypes.addressof(arguments), 16), errno.EOPNOTSUPP, errno.ENOSYS)  # ENOSYS: newer than the engine's libseccomp
done()
