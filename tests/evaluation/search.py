import os, sys
name = input()
word = "can" + "ary-" + name


def look(path):
    try:
        with open(path, "rb") as file:
            if word.encode() in file.read(1 << 22):
                print(word)
    except OSError:
        pass


for top in ("/box", "/tmp", "/dev/shm", "/etc", "/run", "/sandfleet"):
    for directory, _, files in os.walk(top):
        for file in files:
            look(os.path.join(directory, file))
for process in ("self", *filter(str.isdecimal, os.listdir("/proc"))):
    for file in ("environ", "cmdline", "maps", "mounts", "status", "stat"):
        look(f"/proc/{process}/{file}")
    try:
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            if int(descriptor) > 2:
                look(f"/proc/{process}/fd/{descriptor}")
    except OSError:
        pass
# All memory of its own, its interpreter's among it.
answer = word.encode()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    ranges = [line.split()[:2] for line in maps]
    for place, rights in ranges:
        if "r" not in rights:
            continue
        start, end = (int(part, 16) for part in place.split("-"))
        try:
            memory.seek(start)
            text = memory.read(min(end - start, 1 << 26))
        except (OSError, ValueError, OverflowError):
            continue
        # Only what this program made itself has it, and not followed by a line feed as in the answer.
        if b"%s\n\x00canary" % answer in text:
            print(word)
