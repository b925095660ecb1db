# PID 1 waits for the signals of children; here they come without end.
import os, signal, time
for _ in range(8):
    if os.fork() == 0:
        while True: os.kill(1, signal.SIGCHLD)
time.sleep(0.5)
print("main done", flush=True)
