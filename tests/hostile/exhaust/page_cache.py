# May a program take pages that others read out of the host's memory?
import mmap, os, sys
bad = []
def breach(what): bad.append(what); print("BREACH:", what, flush=True)
def cached(file, at):
    try: return os.preadv(file, [bytearray(mmap.PAGESIZE)], at, os.RWF_NOWAIT) > 0
    except BlockingIOError: return False
# One that nobody maps: the text of a module of Python's, some hundred KiB.
file = os.open(os.path.join(os.path.dirname(os.__file__), "_pydecimal.py"), os.O_RDONLY)
size = os.fstat(file).st_size; pages = range(0, size, mmap.PAGESIZE)
for at in pages: os.pread(file, mmap.PAGESIZE, at)
try: before = sum(cached(file, at) for at in pages)
except OSError as error: print("note: not to be seen here:", error.strerror); before = 0
try: os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
except OSError as error: breach("advice is refused: " + error.strerror)
try: after = sum(cached(file, at) for at in pages)
except OSError: after = 0
print("note:", before, "pages before,", after, "after", flush=True)
if after < before: breach("the host lost %d pages" % (before - after))
for advice in ("NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "NOREUSE"):
    try: os.posix_fadvise(file, 0, 0, getattr(os, "POSIX_FADV_" + advice))
    except OSError as error: breach("%s is refused: %s" % (advice, error.strerror))
print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
