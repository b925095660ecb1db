import ctypes, os
name = input()
libc = ctypes.CDLL(None, use_errno=True)
# System V shared memory outlives its processes.
segment = libc.shmget(0x5EED, 4096, 0o1666)
if segment >= 0:
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(segment, None, 0)
    if at not in (None, ctypes.c_void_p(-1).value):
        if ctypes.string_at(at, 7) == b"planted":
            print("canary-second")
        ctypes.memmove(at, b"planted", 7)
