# A crash leaves no dump: it would hold whatever the process held, and fill the disk that it is written to.
import os, resource, sys
try: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
except (OSError, ValueError): pass
if os.fork() == 0: os.abort()
_, status = os.wait()
left = [name for name in os.listdir(".") if name == "core" or name.startswith("core.")]
if os.WCOREDUMP(status) or left: print("BREACH: dumped", left, flush=True); sys.exit(42)
print("CONTAINED")
