#!/usr/bin/env python3
"""capture.py FILE: writes every packet of the loopback interface into FILE, raw, until SIGTERM. Needs CAP_NET_RAW.

Prints "capturing" once it has begun. Packets that the kernel dropped are an error: the capture would prove nothing.
"""

import signal
import socket
import struct
import sys

ALL_PROTOCOLS = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6


def main():
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 20)
    capture.bind(("lo", 0))
    capture.settimeout(0.2)
    print("capturing", flush=True)
    with open(sys.argv[1], "wb", buffering=0) as file:
        while not stopped:
            try:
                file.write(capture.recv(1 << 18))
            except TimeoutError:
                continue
    _packets, drops = struct.unpack("II", capture.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    print(f"dropped {drops}", flush=True)
    return 0 if drops == 0 else 1


sys.exit(main())
