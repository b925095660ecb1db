import os, time
k = 0
try:
    for k in range(3000):
        if os.fork() == 0: time.sleep(10); os._exit(0)
except OSError: pass
print("children", k, flush=True); time.sleep(4)
