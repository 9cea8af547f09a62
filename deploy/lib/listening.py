#!/usr/bin/env python3
"""listening.py PID...: the addresses on which these processes listen, one a line."""

import os
import re
import socket
import struct
import sys

LISTEN = "0A"


def address(text):
    """An address of /proc/net/tcp{,6}: 32-bit words in the machine's byte order. IPv4 in IPv6 is shown as IPv4."""
    host, port = text.split(":")
    packed = b"".join(struct.pack("=I", int(host[i:i + 8], 16)) for i in range(0, len(host), 8))
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, packed)}:{int(port, 16)}"


def sockets_of(pid):
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except OSError:
            continue  # Closed in the meantime.
        if link:
            yield link[1]


def main():
    ours = {inode for pid in sys.argv[1:] for inode in sockets_of(pid)}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as lines:
            for fields in map(str.split, list(lines)[1:]):
                if fields[3] == LISTEN and fields[9] in ours:
                    print(address(fields[1]))


main()
