# Looks for a directory outside of the scratch space that a file can be made in.
import os, sys
scratch = {os.path.realpath(path) for path in ("/box", "/tmp", "/dev/shm", "/proc", "/sys", "/dev/mqueue")}
found, pending = [], [("/", 0)]
while pending:
    directory, depth = pending.pop()
    if os.path.realpath(directory) in scratch: continue
    try:
        os.close(os.open(os.path.join(directory, "planted"), os.O_WRONLY | os.O_CREAT)); found.append(directory)
    except OSError: pass
    if depth == 3: continue
    try: pending += [(entry.path, depth + 1) for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError: pass
if found: print("BREACH: files can be made in", found[:5], flush=True); sys.exit(42)
print("CONTAINED")
