# A watch on a file of the root tree reports every process that opens it, if the file is a shared one.
import ctypes, os, select, struct, sys, time
libc = ctypes.CDLL(None); seen = set()
watch = libc.inotify_init1(0); IN_OPEN, IN_ACCESS = 0x20, 0x1
for directory in (b"/usr/bin", b"/etc", b"/usr/lib/x86_64-linux-gnu", b"/usr/lib/aarch64-linux-gnu"):
    libc.inotify_add_watch(watch, directory, IN_OPEN | IN_ACCESS)
end = time.time() + 1.5
while time.time() < end:
    if not select.select([watch], [], [], 0.1)[0]: continue
    data = os.read(watch, 1 << 16); at = 0
    while at < len(data):
        _, _, _, length = struct.unpack_from("iIII", data, at)
        seen.add(data[at + 16:at + 16 + length].rstrip(b"\0").decode()); at += 16 + length
if seen: print("BREACH: others open", sorted(seen)[:5], flush=True); sys.exit(42)
print("CONTAINED")
