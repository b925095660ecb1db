# Directories and files that PID 1 may see but not open, and the other way round.
import os
for mode in (0, 0o100, 0o200, 0o400, 0o500):
    os.mkdir("d%o" % mode); open("d%o/artifact" % mode, "w").write("x"); os.chmod("d%o" % mode, mode)
    open("f%o" % mode, "w").write("x"); os.chmod("f%o" % mode, mode)
print("made")
