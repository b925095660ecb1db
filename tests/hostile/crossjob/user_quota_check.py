# While a neighbour holds all it can get, there is as much for all others.
import ctypes, sys
libc = ctypes.CDLL(None); count = 0
while count < 100 and libc.inotify_init1(0) >= 0: count += 1
if count < 100: print("BREACH: a neighbour left", count, "inotify instances", flush=True); sys.exit(42)
print("CONTAINED")
