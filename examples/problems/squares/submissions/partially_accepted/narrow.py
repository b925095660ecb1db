n = int(input())
print(n * n & 0xFFFFFFFF)
