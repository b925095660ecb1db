# Starts as many processes as it can, up to a number that harms no host; far fewer than that are allowed.
import os, signal, sys
children = []
try:
    for _ in range(300):
        child = os.fork()
        if child == 0: signal.pause()
        children.append(child)
except OSError: pass
for child in children: os.kill(child, signal.SIGKILL)
if len(children) > 200: print("BREACH:", len(children), "processes at a time", flush=True); sys.exit(42)
print("CONTAINED")
