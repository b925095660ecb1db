import os, socket, threading, time
name = input()
# An abstract socket is no file; a port is none either.
for family, address in ((socket.AF_UNIX, "\0planted"), (socket.AF_INET, ("127.0.0.1", 4567))):
    other = socket.socket(family)
    try:
        other.connect(address)
        print("canary-second")
    except OSError:
        pass
    own = socket.socket(family)
    try:
        own.bind(address)
        own.listen()
    except OSError:
        pass
if name == "first":
    time.sleep(0.5)
