# Uses up a quota that the kernel keeps per user (inotify instances) and holds it.
import ctypes, time
libc = ctypes.CDLL(None); count = 0
while libc.inotify_init1(0) >= 0: count += 1
print("held", count, flush=True)
time.sleep(4)
print("CONTAINED")
