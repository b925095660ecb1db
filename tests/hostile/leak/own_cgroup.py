# The path of one's control group names the worker and the slot, unless it is the top of what can be seen.
import sys
try: lines = open("/proc/self/cgroup").read().splitlines()
except OSError: lines = []
told = [line for line in lines if not line.endswith(":/")]
if told: print("BREACH:", told[:3], flush=True); sys.exit(42)
print("CONTAINED")
