# Fills the working directory and /tmp to the last byte, then says so; nothing else is harmed.
import errno, os, sys, time
for directory in ("/box", "/tmp"):
    descriptor = os.open(directory + "/fill", os.O_WRONLY | os.O_CREAT); written = 0
    try:
        while written < 1 << 30: written += os.write(descriptor, b"\0" * 65536)
        print("BREACH: 1 GiB fits into", directory, flush=True); sys.exit(42)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG): raise
    os.close(descriptor)
time.sleep(0.1)
print("CONTAINED")
