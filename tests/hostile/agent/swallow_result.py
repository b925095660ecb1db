# What PID 1 says of the program, read by the program instead of the worker. Its own output it may take back.
import os, threading, time
taken, notes = [], []
def swallow(path):
    try:
        descriptor = os.open(path, os.O_RDONLY)
        while chunk := os.read(descriptor, 65536):
            if chunk.strip(b"x\n"): taken.append(chunk[:20])
    except OSError as error: notes.append("%s: %s" % (path, error.strerror))
for number in range(12):
    threading.Thread(target=swallow, args=("/proc/1/fd/%d" % number,), daemon=True).start()
time.sleep(0.3)
print("x" * 2000, flush=True)
time.sleep(0.3)
print("\n".join(sorted(notes)))
print("taken: %s" % taken if taken else "CONTAINED", flush=True)
os._exit(42 if taken else 0)
