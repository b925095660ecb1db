# Every signal there is to PID 1, from kill, and from a full pipe with F_SETSIG where a program may ask for that.
import fcntl, os, signal, time
for number in range(1, 65): os.kill(1, number)
reading, writing = os.pipe()
F_SETSIG = 10
for number in (signal.SIGKILL, signal.SIGSTOP, 0):
    for command, value in ((fcntl.F_SETOWN, 1), (F_SETSIG, int(number))):
        try: fcntl.fcntl(reading, command, value)
        except PermissionError: pass
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(writing, b"x")
time.sleep(0.2)
print("CONTAINED")
