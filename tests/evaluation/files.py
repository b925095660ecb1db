import os, sys
name = input()
places = [place + "/planted" for place in ("/box", "/tmp", "/dev/shm", "/var/tmp", "/run", os.path.expanduser("~"))]
if any(map(os.path.exists, places)):
    print("canary-second" if name == "second" else "canary-first")
for path in places:
    try:
        open(path, "w").write("planted")
    except OSError:
        pass
