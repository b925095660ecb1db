"""The rows of the census: which objects are made, and what stands against it."""

from dataclasses import dataclass

# What a job may take of the host's memory beyond what is counted for it, beside what an idle job takes.
BOUND_MIB = 64


@dataclass(frozen=True)
class Row:
    name: str
    # A maker of tests/census/makers and its two numbers.
    kind: str
    first: int = 0
    second: int = 0
    # How many processes make them; as many as the limits allow if it isn't given, and a few where they are refused.
    processes: int | None = None
    # Whether the calls that make them are refused: then there are none of them at all.
    refused: bool = False
    # Whether it goes beyond the bound and nothing was found that bounds it: docs/threat-model.md has the figures.
    known: bool = False
    # For what the host has none of unless it is set up, such as huge pages.
    before: str = ""


ROWS = [
    # descriptors and files
    Row("pipe", "pipe"),
    Row("fifo", "fifo"),
    Row("eventfd", "eventfd"),
    Row("timerfd", "timerfd"),
    Row("signalfd", "signalfd"),
    Row("memfd", "memfd"),
    Row("pidfd", "pidfd"),
    Row("epoll entry", "epoll"),
    Row("inotify instance", "inotify"),
    Row("inotify watch", "inotify_watch"),
    Row("inotify event", "inotify_event", 400),
    Row("dnotify", "dnotify", refused=True),
    Row("fasync", "fasync"),
    Row("open file of /proc", "proc_open"),
    Row("pseudo terminal", "pty"),
    Row("POSIX record lock", "posix_lock", processes=6),
    Row("OFD record lock", "ofd_lock", processes=6, refused=True),
    Row("flock", "flock"),
    Row("lease", "lease", refused=True),
    Row("negative dentry", "negative", 1000),
    Row("tmpfs inode", "inode"),
    Row("symbolic link", "symlink"),
    Row("extended attribute", "xattr", refused=True),
    Row("access list", "acl", refused=True),
    # sockets
    Row("TCP socket", "socket", 2, 1),
    Row("UDP socket, IPv6", "socket", 10, 2),
    Row("AF_UNIX stream, queued", "unix_stream"),
    Row("AF_UNIX datagram, queued", "unix_dgram"),
    Row("AF_UNIX seqpacket, queued", "unix_seqpacket"),
    Row("AF_UNIX never accepted", "unix_backlog"),
    Row("AF_UNIX never accepted, closed", "unix_backlog", 0, 1),
    Row("SCM_RIGHTS in flight", "scm_rights"),
    Row("SCM_RIGHTS in flight, with data", "scm_rights", 1),
    Row("UDP queued", "udp_queued"),
    Row("UDP queued, small", "udp_small"),
    Row("UDP corked by MSG_MORE", "udp_cork", refused=True),
    Row("UDP corked by the option", "udp_cork", 0, 1, refused=True),
    Row("UDP error queue", "udp_error"),
    Row("UDP queue of times", "udp_timestamp"),
    # This one and that of TCP on version 1: counted by PID 1, which gets to it late beside 250 busy processes.
    Row("UDP queued, port lost", "udp_forgotten", known=True),
    Row("TCP queued", "tcp_queued", known=True),
    Row("TCP never accepted", "tcp_backlog"),
    Row("TCP never accepted, with data", "tcp_backlog", 4 << 20),
    Row("TCP never accepted, with data, closed", "tcp_backlog", 100_000, 1),
    Row("TCP never accepted, with data, reset", "tcp_backlog", 100_000, 2),
    Row("TCP TIME_WAIT", "tcp_time_wait", 60),
    # options of sockets
    Row("socket filter", "socket_filter", refused=True),
    Row("reuseport filter", "reuseport_filter", refused=True),
    Row("reuseport group", "reuseport"),
    Row("TCP_MD5SIG", "tcp_md5", refused=True),
    Row("TCP_MD5SIG_EXT", "tcp_md5", 0, 1, refused=True),
    Row("TCP_AO key", "tcp_ao", refused=True),
    Row("multicast, IPv4", "multicast", refused=True),
    Row("multicast, IPv6", "multicast", 0, 1, refused=True),
    Row("IPv6 extension header", "ipv6_option", refused=True),
    Row("IPv6 flow label", "flow_label", refused=True),
    # between processes
    Row("System V shared memory", "shm"),
    Row("System V semaphores", "sem"),
    Row("System V semaphores, undo", "sem_undo"),
    Row("System V messages", "msg"),
    Row("System V messages, small", "msg", 1, processes=8),
    Row("POSIX message queue", "mq"),
    # processes
    Row("thread", "thread", processes=1),
    Row("robust list", "robust_list"),
    Row("prctl", "prctl"),
    Row("queued signal", "rt_signal"),
    Row("POSIX timer", "posix_timer"),
    Row("seccomp filter", "seccomp", 0, 60, refused=True),
    Row("Landlock rule set", "landlock"),
    Row("Landlock rule", "landlock_rule"),
    # mappings
    # Counted by PID 1, which gets to it late when as many processes as there may be use all of the processors.
    Row("mapping", "vma", known=True),
    Row("mapping, with gaps", "vma", 1, known=True),
    Row("name of a mapping", "vma_name", processes=40, refused=True),
    Row("page table", "pagetable"),
    Row("huge page, mapped", "hugetlb", refused=True, before="huge pages"),
    Row("huge page, memfd", "memfd_huge", refused=True, before="huge pages"),
    Row("huge page, shared memory", "shm_huge", refused=True, before="huge pages"),
]

# The worst that a run of a few minutes tries.
QUICK = ["access list", "UDP queued", "UDP corked by MSG_MORE", "TCP never accepted, with data", "TCP_MD5SIG"]

BY_NAME = {row.name: row for row in ROWS}
NULL = Row("nothing", "null", processes=1)

# What a job may have at the operator's caps and at the defaults, as far as it matters here.
LIMITS = {
    "caps": {"memory_bytes": 2 << 30, "processes": 256, "open_files": 1024, "scratch_bytes": 1 << 30},
    "defaults": {"memory_bytes": 256 << 20, "processes": 64, "open_files": 256, "scratch_bytes": 64 << 20},
}
TIME_MS = 600_000
