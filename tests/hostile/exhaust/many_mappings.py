import ctypes, os, time
# More mappings than all processes may have together, none of them with a page in it: 50,000 in each of 8 processes.
libc = ctypes.CDLL(None, use_errno=True); libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for number in range(50_000):
    # Private and of no file; neighbours differ in their protection, so that they don't become one.
    if libc.mmap(None, 4096, 1 + number % 2 * 2, 0x22, -1, 0) == 2**64 - 1: raise OSError(ctypes.get_errno(), "mmap")
for _ in range(7):
    if not os.fork(): time.sleep(30); os._exit(0)
time.sleep(3)
print("SURVIVED")
