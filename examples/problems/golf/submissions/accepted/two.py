n = int(input())
print(f"{n - 1}+1")
