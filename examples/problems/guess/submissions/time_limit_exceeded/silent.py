import sys

# Waits for an answer to what it has not asked.
sys.stdin.readline()
