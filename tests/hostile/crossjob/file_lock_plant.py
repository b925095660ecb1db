# isolate 2.4 flag 4: locks on shared read-only inodes cross mount namespaces. Run at the SAME TIME as the check.
import fcntl, sys, time, os
fd = os.open(os.path.realpath(sys.executable), os.O_RDONLY)
try: fcntl.flock(fd, fcntl.LOCK_EX); print("locked")
except OSError as e: print(e)
time.sleep(4)
