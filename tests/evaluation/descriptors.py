import os
name = input()
# What is open besides the standard streams, and what can be read from it.
for descriptor in range(3, 256):
    try:
        text = os.read(descriptor, 65536) if not os.isatty(descriptor) else b""
    except OSError:
        continue
    for found in (b"canary-first", b"canary-second"):
        if found in text:
            print(found.decode())
    try:
        os.write(descriptor, b"canary-second\n")
    except OSError:
        pass
