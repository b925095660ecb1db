# Takes memory up to an amount that harms no host; far less than that is allowed.
held = bytearray()
for _ in range(12): held += b"x" * (64 << 20)
print("BREACH:", len(held) >> 20, "MiB", flush=True)
