#!/usr/bin/env python3
"""Prints the first of N ports in a row that are free on 127.0.0.1, .2 and .3, below the kernel's own range."""

import random
import socket
import sys


def is_free(address, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def main():
    count = int(sys.argv[1])
    for _ in range(200):
        first = random.randrange(10_000, 32_000 - count)
        if all(is_free(f"127.0.0.{host}", first + n) for host in (1, 2, 3) for n in range(count)):
            print(first)
            return 0
    print(f"no {count} free ports in a row between 10000 and 32000", file=sys.stderr)
    return 1


sys.exit(main())
