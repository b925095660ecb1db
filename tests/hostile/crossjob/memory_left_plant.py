# Memory that outlives all processes: a System V segment, and files in sockets that no process reads.
import array, ctypes, os, socket
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
size = 100 << 20
address = libc.shmat(libc.shmget(0, size, 0o1600), None, 0)
ctypes.memset(address, 1, size)
libc.shmdt(ctypes.c_void_p(address))
files = [os.memfd_create("left") for _ in range(2)]
for file in files:
    for _ in range(50): os.write(file, b"x" * (1 << 20))
a, b = socket.socketpair()
rights = array.array("i", files + [a.fileno(), b.fileno()])
for end in (a, b): end.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
print("planted", flush=True)
os._exit(0)
