"""What the host and the slot's control group say, and how much of what a whole host shares is used."""

import os
import re
import time
from pathlib import Path

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
MIB = 1 << 20


def number(path, column=0):
    return int(Path(path).read_text().split()[column])


def memory_info():
    """MiB by name."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines}


def find_slot_groups():
    """The control groups that hold a job's processes: of the native sandbox and of Docker's."""
    for directory, below, _ in os.walk("/sys/fs/cgroup" if V2 else "/sys/fs/cgroup/memory"):
        base, parent = os.path.basename(directory), os.path.basename(os.path.dirname(directory))
        if base.startswith("slot-") or parent == "docker":
            below.clear()
            yield directory


KEPT = {"groups": [], "until": 0.0}


def slot_groups():
    """They stay for longer than one sample takes, and to look for them takes long in an emulated machine."""
    if time.monotonic() > KEPT["until"]:
        KEPT.update(groups=list(find_slot_groups()), until=time.monotonic() + 5)
    return KEPT["groups"]


def counted_mib():
    total = 0
    for group in slot_groups():
        try:
            total += number(f"{group}/memory.{'current' if V2 else 'usage_in_bytes'}")
        except OSError:
            pass  # gone meanwhile
    return total / MIB


def drop_caches():
    Path("/proc/sys/vm/drop_caches").write_text("3")


def settled():
    """The host's memory when nothing changes it any more."""
    last = 0
    for _ in range(20):
        drop_caches()
        now = memory_info()["MemAvailable"]
        if abs(now - last) < 3:
            break
        last = now
        time.sleep(1)
    return memory_info()


def socket_statistics():
    text = Path("/proc/net/sockstat").read_text()
    found = {}
    for line in text.splitlines():
        protocol, *words = line.replace(":", "").split()
        found |= {f"{protocol} {name}": int(value) for name, value in zip(words[::2], words[1::2])}
    return found


def jit_bytes():
    """Of programs that were compiled for the kernel."""
    total = 0
    for line in Path("/proc/vmallocinfo").read_text().splitlines():
        if "bpf_jit" in line or "bpf_prog_pack" in line:
            total += int(line.split()[1])
    return total


def shared():
    """What the whole host has so much of: used, and the most there is."""
    sockets = socket_statistics()
    found = {
        "tcp_mem pages": (sockets.get("TCP mem", 0), number("/proc/sys/net/ipv4/tcp_mem", 2)),
        "udp_mem pages": (sockets.get("UDP mem", 0), number("/proc/sys/net/ipv4/udp_mem", 2)),
        "tcp_max_orphans": (sockets.get("TCP orphan", 0), number("/proc/sys/net/ipv4/tcp_max_orphans")),
        "fs.file-max": (number("/proc/sys/fs/file-nr"), number("/proc/sys/fs/file-max")),
        "kernel.threads-max": (int(re.search(r"/(\d+)", Path("/proc/loadavg").read_text())[1]),
                               number("/proc/sys/kernel/threads-max")),
        "kernel.pty.max": (number("/proc/sys/kernel/pty/nr"), number("/proc/sys/kernel/pty/max")),
        "huge pages": (number("/proc/sys/vm/nr_hugepages") - int(memory_info()["HugePages_Free"] * 1024),
                       number("/proc/sys/vm/nr_hugepages")),
    }
    limit = Path("/proc/sys/net/core/bpf_jit_limit")
    if limit.exists():
        found["bpf_jit_limit"] = jit_bytes(), number(limit)
    return found


def used_of_shared(before, now):
    """In percent of the whole host's, where it is worth a word."""
    used = {name: 100 * (value - before[name][0]) / most for name, (value, most) in now.items() if most}
    return {name: round(percent, 1) for name, percent in used.items() if percent >= 2}
