a, b = map(int, input().split())
print([a + b][0 if a < 100 else 1])
