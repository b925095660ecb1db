# Prints 200 MiB, which is more than any limit, and then says that it could.
import sys
piece = b"x" * (1 << 20)
for _ in range(200): sys.stdout.buffer.write(piece)
print("\nBREACH: all of it was taken", flush=True)
