# Process groups and sessions reach across PID namespaces: a group of number 0 is one outside.
import os, sys
group, session = os.getpgrp(), os.getsid(0)
print("group", group, "session", session, flush=True)
if not group or not session: print("BREACH: in a process group or session of the host's", flush=True); sys.exit(42)
print("CONTAINED")
