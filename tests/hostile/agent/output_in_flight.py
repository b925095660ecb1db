# The write ends of both output pipes in a cycle of sockets that no process reads: only the kernel's
# garbage collector closes them, in its own time.
import array, os, socket
a, b = socket.socketpair()
rights = array.array("i", [1, 2, a.fileno(), b.fileno()])
for end in (a, b): end.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
print("in flight", flush=True)
os._exit(0)
