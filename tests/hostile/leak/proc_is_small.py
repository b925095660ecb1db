# /proc has processes, and six files that say what the job has. All else is covered: no settings, no counters, no names of the
# host's; and of processes one's own. That there is a PID 1 shows; nothing that it is, has or does can be read.
import os, sys
made = {"cpuinfo", "loadavg", "meminfo", "stat", "uptime", "version"}
def readable(path):
    try:
        return bool(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(64) or os.path.dirname(path) != "/proc")
    except OSError:
        return False
more = [name for name in os.listdir("/proc")
        if not name.isdigit() and name not in made and not os.path.islink("/proc/" + name) and readable("/proc/" + name)]
if more: print("BREACH:", len(more), "other entries:", more[:5], flush=True)
counters = any(int(number) for number in open("/proc/stat").readline().split()[1:])
if counters: print("BREACH: counters in /proc/stat", flush=True)
seen = [name for name in (".", "status", "stat", "cmdline", "environ", "maps", "fd", "task", "cgroup", "mounts", "wchan")
        if readable("/proc/1/" + name)]
if seen: print("BREACH: PID 1 can be looked at:", seen, flush=True)
if more or counters or seen: sys.exit(42)
print("CONTAINED")
