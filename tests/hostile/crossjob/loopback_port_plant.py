import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", 47011)); s.listen(); s.settimeout(4)
try: s.accept(); print("BREACH: a neighbour connected")
except OSError: print("nobody came")
