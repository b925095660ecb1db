# The program owns its working directory, and PID 1 looks for artifacts there as the same user.
import os
open("artifact", "w").write("made")
os.chmod("/box", 0)
print("locked")
