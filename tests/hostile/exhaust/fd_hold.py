# Opens as many files as it may have and keeps them for a moment.
import errno, os, sys, time
held = []
try:
    while len(held) < 800: held.append(os.open("/dev/null", os.O_RDONLY))
    print("BREACH: 800 files open at a time", flush=True); sys.exit(42)
except OSError as error:
    if error.errno != errno.EMFILE: raise
time.sleep(0.3)
print("CONTAINED")
