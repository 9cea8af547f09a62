#!/usr/bin/env python3
"""Reads lines `VARIABLE ADDRESS:PORT`; prints a sentence for each port that is taken, and exits with 1 if any is."""

import errno
import os
import re
import socket
import sys


def is_taken(address, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def socket_inodes(port):
    """Sockets that have this local port, whatever their address: the likely holders."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in list(lines)[1:]:
                    fields = line.split()
                    if int(fields[1].rsplit(":", 1)[1], 16) == port and fields[9] != "0":
                        inodes.add(fields[9])
        except OSError:
            pass
    return inodes


def holder(port):
    """`process 12 (java …)`; unknown for processes of other users, whose sockets are hidden."""
    inodes = socket_inodes(port)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                link = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{descriptor}"))
                if link and link[1] in inodes:
                    return f"process {pid} ({described(pid)})"
        except OSError:
            continue
    return "a process of another user"


def described(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as command:
        words = command.read().decode(errors="replace").split("\0")
    for word in words:
        if word.startswith("-Dstitch.node="):
            return "a server of deploy/local in " + os.path.dirname(word.split("=", 1)[1])
    return " ".join(words)[:60].strip()


def main():
    taken = 0
    for line in sys.stdin:
        variable, where = line.split()
        address, port = where.rsplit(":", 1)
        if is_taken(address, int(port)):
            taken = 1
            print(f"port {where} is taken by {holder(int(port))}; choose another by {variable}.")
    return taken


sys.exit(main())
