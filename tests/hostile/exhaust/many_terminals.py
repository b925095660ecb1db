# What is written to a terminal and not read is kept in memory that no control group counts: they have to be few.
import os, sys
opened = []
try:
    while len(opened) < 100:
        ours, theirs = os.openpty()
        os.set_blocking(theirs, False)
        opened.append((ours, theirs))
        try:
            while os.write(theirs, bytes(4096)): pass
        except BlockingIOError: pass
except OSError: pass
if len(opened) > 16: print("BREACH:", len(opened), "terminals", flush=True); sys.exit(42)
print("CONTAINED with", len(opened))
