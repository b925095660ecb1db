# A lock on a file that two jobs have in common, or a watch on it, would be a channel between them.
import fcntl, glob, os, sys, time
time.sleep(2); bad = []
for path in ["/proc/self/exe", *glob.glob("/proc/self/map_files/*")]:
    try: fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: bad.append(path); print("BREACH:", path, "is locked by a concurrent job", flush=True)
    except OSError as error: print("note:", path, error.strerror)
print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
