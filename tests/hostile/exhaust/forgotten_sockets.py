import ctypes, os, socket, time
# UDP sockets whose address is taken away again by connect(AF_UNSPEC), empty all of them: 400 in two processes. What is
# queued in such a socket stays, and the kernel's count of those with an address doesn't show it.
libc = ctypes.CDLL(None, use_errno=True); held = []
def forget():
    for _ in range(200):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", 9)); held.append(s)
        if libc.connect(s.fileno(), bytes(16), 16): raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")
if not os.fork(): forget(); time.sleep(30); os._exit(0)
forget()
time.sleep(3)
print("SURVIVED")
