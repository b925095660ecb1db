# /proc has processes and nothing else: no settings, no counters, no names of the host's; and of processes one's own.
# That there is a PID 1 shows; nothing that it is, has or does can be read.
import os, sys
more = [name for name in os.listdir("/proc") if not name.isdigit() and name not in ("self", "thread-self")]
if more: print("BREACH:", len(more), "other entries:", more[:5], flush=True)
def readable(path):
    try:
        return bool(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read() or True)
    except OSError:
        return False
seen = [name for name in (".", "status", "stat", "cmdline", "environ", "maps", "fd", "task", "cgroup", "mounts", "wchan")
        if readable("/proc/1/" + name)]
if seen: print("BREACH: PID 1 can be looked at:", seen, flush=True)
if more or seen: sys.exit(42)
print("CONTAINED")
