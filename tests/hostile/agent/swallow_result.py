# What PID 1 says of the program, read by the program instead of the worker. Its own output it may take back, and
# read the counters that PID 1 reads.
import os, threading, time
taken, notes = [], []
def is_word(chunk): return len(chunk) >= 5 and chunk[0] in range(16, 27) and int.from_bytes(chunk[1:5], "little") < 1 << 20
def swallow(path):
    try:
        descriptor = os.open(path, os.O_RDONLY)
        while chunk := os.read(descriptor, 65536):
            (taken if is_word(chunk) else notes).append("%s: %s" % (path, chunk[:20]))
    except OSError as error: notes.append("%s: %s" % (path, error.strerror))
for number in range(12):
    threading.Thread(target=swallow, args=("/proc/1/fd/%d" % number,), daemon=True).start()
time.sleep(0.3)
print("x" * 2000, flush=True)
time.sleep(0.3)
print("\n".join(sorted(notes)))
print("taken: %s" % taken if taken else "CONTAINED", flush=True)
os._exit(42 if taken else 0)
