# /proc has processes and nothing else: no settings, no counters, no names of the host's; and of processes only one's own.
import os, sys
more = [name for name in os.listdir("/proc") if not name.isdigit() and name not in ("self", "thread-self")]
if more: print("BREACH:", len(more), "other entries:", more[:5], flush=True)
if os.path.exists("/proc/1"): print("BREACH: PID 1 can be looked at", flush=True); more.append("1")
if more: sys.exit(42)
print("CONTAINED")
