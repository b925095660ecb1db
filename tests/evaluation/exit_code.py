import os
name = input()
# As an output validator ends that accepts, and as one that has failed.
os._exit(42 if name == "first" else 43)
