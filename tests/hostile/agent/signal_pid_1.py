# Every signal there is to PID 1, from kill and from a full pipe with F_SETSIG.
import fcntl, os, signal, time
for number in range(1, 65): os.kill(1, number)
reading, writing = os.pipe()
F_SETSIG = 10
for number in (signal.SIGKILL, signal.SIGSTOP, 0):
    fcntl.fcntl(reading, fcntl.F_SETOWN, 1)
    fcntl.fcntl(reading, F_SETSIG, int(number))
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(writing, b"x")
time.sleep(0.2)
print("CONTAINED")
