# Memory that no process holds fills the container, so that none is left for PID 1's last work.
import ctypes, os
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
open("artifact", "wb").write(b"x" * 8_000_000)
def take(size):
    segment = libc.shmget(0, size, 0o1600)
    address = libc.shmat(segment, None, 0)
    ctypes.memset(address, 1, size)
    libc.shmdt(ctypes.c_void_p(address))
if os.fork() == 0:
    while True: take(1 << 20)
os.wait()
print("full", flush=True)
os._exit(0)
