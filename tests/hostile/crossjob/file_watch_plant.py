# Opens files of the root tree, for the neighbour to see if it can.
import os, time
for _ in range(40):
    os.close(os.open("/usr/bin/env", os.O_RDONLY)); os.close(os.open("/etc/passwd", os.O_RDONLY)); time.sleep(0.1)
print("opened")
