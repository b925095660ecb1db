# No capability is held, and none can be had: not inherited, not permitted, not bounding, not ambient.
import sys
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
held = {name: value.strip() for name, value in status.items() if name.startswith("Cap") and int(value, 16)}
if held: print("BREACH:", held, flush=True); sys.exit(42)
print("CONTAINED")
