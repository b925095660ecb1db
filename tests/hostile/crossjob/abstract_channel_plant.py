import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("\0sandfleet-plant-7f3a"); s.settimeout(4)
try: s.recv(10); print("BREACH: message from a neighbour")
except OSError: print("quiet")
