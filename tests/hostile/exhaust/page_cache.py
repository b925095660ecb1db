# May a program take pages that others read out of the host's memory?
import os, resource, sys
bad = []
def breach(what): bad.append(what); print("BREACH:", what, flush=True)
# One that no process maps: the text of a module of Python's, some hundred KiB.
file = os.open(os.path.join(os.path.dirname(os.__file__), "_pydecimal.py"), os.O_RDONLY)
def blocks_read():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_inblock
    os.pread(file, 1 << 20, 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock - before
def evicted():
    # Read twice: what is read ahead of the first may still come from the disk.
    blocks_read(); blocks_read()
    try: os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error: breach("advice is refused: " + error.strerror)
    return blocks_read()
# A host that is short of memory takes them, too, but not each time.
rounds = [evicted() for _ in range(5)]
print("note: blocks read from the disk afterwards:", *rounds, flush=True)
if all(rounds): breach("the host lost the file's pages")
for advice in ("NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "NOREUSE"):
    try: os.posix_fadvise(file, 0, 0, getattr(os, "POSIX_FADV_" + advice))
    except OSError as error: breach("%s is refused: %s" % (advice, error.strerror))
print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
