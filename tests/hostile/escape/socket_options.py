import ctypes, errno, os, sys, platform
L = ctypes.CDLL(None, use_errno=True); L.syscall.restype = ctypes.c_long
X = platform.machine() == "x86_64"; bad = []
def sc(nx, na, *a):
    n = nx if X else na
    if n < 0: return -1, errno.ENOSYS
    ctypes.set_errno(0)
    r = L.syscall(ctypes.c_long(n), *[ctypes.c_long(v) if isinstance(v, int) else v for v in a])
    return r, ctypes.get_errno()
def en(e): return errno.errorcode.get(e, str(e))
def breach(m): bad.append(m); print("BREACH:", m, flush=True)
def note(*m): print("note:", *m, flush=True)
def done(): print("BREACHED" if bad else "CONTAINED", flush=True); sys.exit(42 if bad else 0)
# Each call is made once, and each is one that an unfiltered kernel carries out or refuses with another error.
def refused(what, answer, *wanted):
    r, e = answer
    if r >= 0: breach("%s: %d" % (what, r))
    elif e not in wanted: breach("%s reached the kernel: %s" % (what, en(e)))
    else: note(what, en(e))
import socket, struct
tcp = socket.socket(); udp = socket.socket(type=socket.SOCK_DGRAM); unix = socket.socket(socket.AF_UNIX)
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) if os.path.exists("/proc/self/net/if_inet6") else None
code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0xffff), 8)
program = struct.pack("@HxxxxxxQ", 1, ctypes.addressof(code))
one = struct.pack("i", 1); lo = socket.inet_aton("127.0.0.1")
md5 = struct.pack("=HH4s120xBBHi80s", 2, 0, lo, 0, 0, 3, 0, b"key")
rows = [("SO_ATTACH_FILTER", tcp, 1, 26, program), ("SO_ATTACH_FILTER (unix)", unix, 1, 26, program), ("SO_ATTACH_BPF", tcp, 1, 50, one),
 ("SO_ATTACH_REUSEPORT_CBPF", udp, 1, 51, program), ("SO_DETACH_FILTER", tcp, 1, 27, one), ("SO_LOCK_FILTER", tcp, 1, 44, one),
 ("SO_TIMESTAMP", udp, 1, 29, one), ("SO_TIMESTAMPING", udp, 1, 37, struct.pack("i", 1 << 4)), ("SO_ZEROCOPY", tcp, 1, 60, one),
 ("SO_RESERVE_MEM", tcp, 1, 73, one), ("SO_BUF_LOCK", tcp, 1, 72, one),
 ("TCP_MD5SIG", tcp, 6, 14, md5), ("TCP_MD5SIG_EXT", tcp, 6, 32, md5), ("TCP_ULP", tcp, 6, 31, b"tls\0"), ("TCP_CONGESTION", tcp, 6, 13, b"reno\0"),
 ("TCP_FASTOPEN", tcp, 6, 23, one), ("UDP_CORK", udp, 17, 1, one), ("UDP_ENCAP", udp, 17, 100, struct.pack("i", 2)), ("UDP_SEGMENT", udp, 17, 103, one),
 ("UDP_GRO", udp, 17, 104, one), ("IP_OPTIONS", udp, 0, 4, b"\1\1\1\1"), ("IP_ADD_MEMBERSHIP", udp, 0, 35, socket.inet_aton("224.0.0.9") + lo),
 ("IP_MSFILTER", udp, 0, 41, socket.inet_aton("224.0.0.9") + lo + struct.pack("II", 1, 0))]
if six: rows += [("IPV6_JOIN_GROUP", six, 41, 20, socket.inet_pton(10, "ff02::9") + struct.pack("I", 1)), ("IPV6_HOPOPTS", six, 41, 54, b"\0\0\1\4\0\0\0\0")]
for name, s, level, number, value in rows:
    try: s.setsockopt(level, number, value); breach("%s is set" % name)
    except OSError as e: refused(name, (-1, e.errno), errno.EPERM)
for name, s, level, number in (("SO_COOKIE", tcp, 1, 57), ("SO_NETNS_COOKIE", tcp, 1, 71), ("SO_GET_FILTER", tcp, 1, 26), ("TCP_ULP", tcp, 6, 31), ("SO_ORIGINAL_DST", tcp, 0, 80)):
    try: s.getsockopt(level, number, 128); breach("%s is told" % name)
    except OSError as e: refused("read " + name, (-1, e.errno), errno.EPERM)
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); tcp.setsockopt(6, socket.TCP_NODELAY, 1)
if not tcp.getsockopt(6, socket.TCP_NODELAY): breach("an allowed option has no effect")
done()
