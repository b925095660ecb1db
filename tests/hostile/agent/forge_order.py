# The words of the worker to PID 1, said by the program: another order, and to start it.
import json, os
def frame(kind, payload): return bytes([kind]) + len(payload).to_bytes(4, "little") + payload
words = frame(1, json.dumps({"command": ["/bin/echo", "BREACH"]}).encode()) + frame(5, b"")
said = 0
for place in ("/proc/1/fd/0", "/proc/1/task/1/fd/0", "/proc/1/fd/3", "/proc/1/fd/4"):
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
        said += os.write(descriptor, words)
    except OSError as error: print("note:", place, error.strerror)
if said:
    import time
    time.sleep(0.5)
print("%d bytes went somewhere" % said if said else "CONTAINED", flush=True)
raise SystemExit(42 if said else 0)
