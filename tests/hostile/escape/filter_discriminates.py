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
# Every row uses arguments that the kernel rejects BEFORE its permission check, so an unfiltered call answers
# EFAULT/EINVAL/EBADF/... and a filtered one EPERM or ENOSYS. A plain "it failed" cannot tell the two apart.
# SF_CONTROL=1 (run in a container with seccomp=unconfined, else identical): shows which rows discriminate here.
B = 1  # never a mapped address
rows = [  # name, x86_64 nr, aarch64 nr, args, in (0: every profile must block, 1: strict profile only)
 ("mount", 165, 40, (B, B, B, 0, B), 0), ("bpf", 321, 280, (1, B, 120), 0), ("add_key", 248, 217, (B, B, 0, 0, 0), 0),
 ("request_key", 249, 218, (B, B, 0, 0), 0), ("keyctl", 250, 219, (9999, 0, 0, 0, 0), 0), ("perf_event_open", 298, 241, (B, 0, -1, -1, 0), 0),
 ("userfaultfd", 323, 282, (3,), 0), ("io_uring_setup", 425, 425, (1, B), 0), ("io_uring_register", 427, 427, (-1, 0, 0, 0), 0),
 ("unshare", 272, 97, (1,), 0), ("setns", 308, 268, (-1, 0), 0), ("clone3", 435, 435, (B, 64), 0),
 ("open_tree", 428, 428, (-1, B, 0xF0000000), 0), ("mount_setattr", 442, 442, (-1, B, 0xFFFF0000, B, 32), 0),
 ("quotactl", 179, 60, (0xFFFFFFFF, 0, 0, 0), 0), ("iopl", 172, -1, (9,), 0), ("ioperm", 173, -1, (0xFFFF, 0xFFFF, 0), 0),
 ("pidfd_getfd", 438, 438, (-1, 0, 1), 1), ("process_vm_readv", 310, 270, (-1, B, 0, B, 0, 1), 1), ("process_vm_writev", 311, 271, (-1, B, 0, B, 0, 1), 1),
 ("ptrace", 101, 117, (16, -1, 0, 0), 1), ("kcmp", 312, 272, (-1, -1, 0, 0, 0), 1), ("splice", 275, 76, (-1, 0, -1, 0, 0, 0xFF), 1),
 ("vmsplice", 278, 75, (-1, B, 1, 0xFF), 1), ("tee", 276, 77, (-1, -1, 0, 0xFF), 1)]
rows += [("socket family %d" % f, 41, 198, (f, 15, 0), 0) for f in (15, 30, 33, 38, 40)]
rows += [("socket family 16", 41, 198, (16, 15, 0), 1)]
ctl = os.environ.get("SF_CONTROL") == "1"; dead = []
for n, x, a, ar, strict in rows:
    if (x if X else a) < 0: continue
    r, e = sc(x, a, *ar)
    if r >= 0 and n.startswith("socket"): os.close(r)
    reached = r >= 0 or e not in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT if n.startswith("socket") else errno.EPERM)
    if ctl:
        print("control:", n, "discriminates" if reached else "DOES NOT DISCRIMINATE", r if r >= 0 else en(e), flush=True)
        if not reached: dead.append(n)
    elif not reached: note(n, "filtered", en(e))
    elif strict and os.environ.get("SF_PROFILE", "strict") != "strict": note(n, "reached the kernel (allowed by this profile)")
    else: breach("%s reached the kernel: %s" % (n, r if r >= 0 else en(e)))
if ctl: print("dead rows:", ",".join(dead) or "none"); sys.exit(0)
done()
