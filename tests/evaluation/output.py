import sys
input()
# More than is kept: what is cut off might be right.
sys.stdout.write("canary-first\n" * 200000)
