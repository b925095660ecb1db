# A path that the kernel takes, step by step, and that is too long for a result.
import os
for _ in range(8):
    os.mkdir("d" * 200); os.chdir("d" * 200)
open("artifact", "w").write("made")
print("made")
