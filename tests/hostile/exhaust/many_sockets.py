import os, socket, time
# More sockets than what all of them can hold allows, empty all of them, in a few processes: 700 connections.
ports = []; held = []
for _ in range(7):
    l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(128); held.append(l); ports.append(l.getsockname())
def connect(addresses):
    for address in addresses:
        for _ in range(100):
            c = socket.socket(); c.settimeout(2); c.connect(address); held.append(c)
for part in (ports[0:2], ports[2:4], ports[4:6]):
    if not os.fork(): connect(part); time.sleep(30); os._exit(0)
connect(ports[6:])
time.sleep(3)
print("SURVIVED")
