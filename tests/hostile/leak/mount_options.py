# Mount options tell about the host: the size of a devtmpfs is half of the host's memory, a uid= is a number of the
# host's when it isn't one's own.
import os, re, sys
breach = []
for line in open("/proc/self/mountinfo"):
    kind, _, options = line.split(" - ")[1].partition(" ")
    if kind == "devpts": continue  # its gid= is the number of the group tty, the same everywhere
    if kind == "devtmpfs": breach.append(line.strip())
    for number in re.findall(r"\b[ug]id=(\d+)", options):
        if int(number) not in (os.getuid(), os.getgid()): breach.append(line.strip())
if breach: print("BREACH:", breach[:3], flush=True); sys.exit(42)
print("CONTAINED")
