# As many files as the scratch space takes, with long names, for PID 1 to look through.
import os
made = 0
try:
    for made in range(100_000): os.close(os.open("%0240d" % made, os.O_CREAT))
except OSError as error: print(error.strerror)
print("made", made > 10_000)
