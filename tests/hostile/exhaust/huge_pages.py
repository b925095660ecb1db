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
L.mmap.restype = ctypes.c_long
page = L.mmap(None, ctypes.c_long(2 << 20), 3, 0x40022, -1, ctypes.c_long(0))
if page != -1: breach("MAP_HUGETLB: a huge page of the host's")
# A kernel that has huge pages at all makes this file, whether it has any to spare or not.
refused("MFD_HUGETLB", sc(319, 279, ctypes.c_char_p(b"x"), 4), errno.EINVAL, errno.EPERM)
refused("SHM_HUGETLB", sc(29, 194, 0, 2 << 20, 0o7600), errno.EPERM)
done()
