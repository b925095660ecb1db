import sys

number = int(open(sys.argv[1]).read())
feedback = sys.argv[3]


def wrong(why):
    open(feedback + "judgemessage.txt", "w").write(why)
    sys.exit(43)


words = sys.stdin.read().split()
if len(words) != 1 or not words[0].isdecimal():
    wrong("no single number")
divisor = int(words[0])
if divisor == 0 or number % divisor:
    wrong(f"{divisor} does not divide {number}")
sys.exit(42)
