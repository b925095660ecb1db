# Makes empty files until no more fit: inodes are kernel memory.
import errno, os, sys, time
count = 0
try:
    while count < 200_000:
        os.close(os.open(f"/tmp/{count}", os.O_WRONLY | os.O_CREAT)); count += 1
    print("BREACH: 200,000 files fit", flush=True); sys.exit(42)
except OSError as error:
    if error.errno != errno.ENOSPC: raise
time.sleep(0.1)
print("CONTAINED")
