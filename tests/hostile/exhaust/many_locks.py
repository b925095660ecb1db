import fcntl, os, time
# More record locks than all processes may have together, 700 in each of 50 files of 4 processes: every other byte, so
# that none becomes one with its neighbour.
def lock(number):
    for file in range(50):
        file = os.open("/tmp/locked%d_%d" % (number, file), os.O_RDWR | os.O_CREAT, 0o600)
        for at in range(700, 0, -1): fcntl.lockf(file, fcntl.LOCK_EX, 1, at * 2)
for number in range(3):
    if not os.fork(): lock(number); time.sleep(30); os._exit(0)
lock(3)
# In PID 1's sight for a while.
end = time.monotonic() + 3
while time.monotonic() < end: pass
print("SURVIVED")
