# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel says in /proc of processes, TCP sockets and mounts.

Processes end, and files of others stay closed, while we look: that is no error.
"""

import os
import pwd
import re
import socket
import struct
import time

# States in the kernel's include/net/tcp_states.h.
ESTABLISHED = "01"
LISTEN = "0A"
TICK = 1 / os.sysconf("SC_CLK_TCK")


def read(path):
    """Text of a file, empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def mounts(path="/proc/self/mounts"):
    """Mount point -> (type, options). A later mount on the same point hides the earlier one."""
    points = {}
    for line in read(path).splitlines():
        fields = line.split(" ")
        if len(fields) > 3:
            point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), fields[1])
            points[point] = (fields[2], fields[3].split(","))
    return points


def children(parent):
    """Processes of a parent: number -> {state, started: seconds since the epoch, title: as the process names itself}."""
    boot = time.time() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", 7))  # Python 3.6 has no name for it
    found = {}
    for number in filter(str.isdigit, os.listdir("/proc")):
        # The name, in brackets, may hold anything.
        fields = read(f"/proc/{number}/stat").rpartition(")")[2].split()
        if fields and int(fields[1]) == parent:
            title = read(f"/proc/{number}/cmdline").rstrip("\0 ")
            found[int(number)] = {"state": fields[0], "started": boot + int(fields[19]) * TICK, "title": title}
    return found


def sockets(state, folder="/proc/net"):
    """TCP sockets in a state: [{ip and port: of this end, as the kernel writes the ip, uid, inode}]. A host without IPv6 has one table."""
    rows = [line.split() for table in ("tcp", "tcp6") for line in read(os.path.join(folder, table)).splitlines()[1:]]
    return [
        {"ip": row[1].split(":")[0], "port": int(row[1].split(":")[1], 16), "uid": int(row[7]), "inode": row[9]}
        for row in rows
        if len(row) > 9 and row[3] == state
    ]


def address(text):
    """The kernel prints addresses as 32-bit words in the byte order of the machine."""
    packed = b"".join(struct.pack("=I", int(text[i:i + 8], 16)) for i in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def holders(inodes):
    """Socket inode -> lowest process id that holds it."""
    found = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            for fd in os.scandir(f"/proc/{pid}/fd"):
                try:
                    target = os.readlink(fd.path)
                except OSError:
                    continue
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    found.setdefault(target[8:-1], pid)
        except OSError:  # not ours to see, or gone
            continue
    return found


def unit(groups):
    """The service in the text of a /proc/<pid>/cgroup: with control groups of version 1 it is in the hierarchy that has systemd's name."""
    for line in groups.splitlines():
        controllers, path = line.split(":", 2)[1:]
        if controllers in ("", "name=systemd"):
            found = [part for part in path.split("/") if part.endswith(".service")]
            if found:
                return found[-1]
    return ""


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def listeners():
    """Listening TCP sockets, ordered by port: [{address, port, user, pid, process, unit}], see module mlops_host_info."""
    found = sockets(LISTEN)
    pids = holders({item["inode"] for item in found})
    result = []
    for item in found:
        pid = pids.get(item["inode"])
        result.append({
            "address": address(item["ip"]),
            "port": item["port"],
            "user": user_name(item["uid"]),
            "pid": pid,
            "process": read(f"/proc/{pid}/comm").strip() if pid else "",
            "unit": unit(read(f"/proc/{pid}/cgroup")) if pid else "",
        })
    return sorted(result, key=lambda item: (item["port"], item["address"]))
