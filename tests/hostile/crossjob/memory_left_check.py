# The whole memory is this job's, from its first moment.
import ctypes
size = 200 << 20
ctypes.memset(ctypes.create_string_buffer(size), 1, size)
print("CONTAINED")
