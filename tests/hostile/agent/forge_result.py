# The words of PID 1, said by the program: output that it never wrote, a good end, and that this was all.
import json, os
ended = dict(cause="itself", exit_code=0, signal=None, wall_time_us=1, cpu_time_us=1, memory_peak_bytes=1,
             memory_kills=0, processes_refused=0, scratch_full=False, open_files_used_up=False,
             stdout_bytes=14, stderr_bytes=0)
def frame(kind, payload): return bytes([kind]) + len(payload).to_bytes(4, "little") + payload + b"no seal at all!!"
words = frame(18, b"BREACH: forged") + frame(21, json.dumps(ended).encode()) + frame(24, b"")
said = 0
for place in ("/proc/1/fd/", "/proc/1/task/1/fd/"):
    for number in range(12):
        try:
            descriptor = os.open(place + str(number), os.O_WRONLY | os.O_NONBLOCK)
            said += os.write(descriptor, words)
            # Without an end there is also a frame that swallows what PID 1 says next.
            os.write(descriptor, bytes([18, 255, 255, 0, 0]))
        except OSError as error: print("note:", number, error.strerror)
# If a word of it was heard, this exit code is not what the worker tells.
print("%d bytes went somewhere" % said if said else "CONTAINED", flush=True)
raise SystemExit(42 if said else 0)
