a, b = map(int, input().split())
while a > 100:
    pass
print(a + b)
