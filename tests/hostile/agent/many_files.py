# As many files as the scratch space takes, with long names, for PID 1 to look through.
made = 0
try:
    for made in range(100_000): open("%0240d" % made, "w").close()
except OSError as error: print(error.strerror)
print("made", made > 10_000)
