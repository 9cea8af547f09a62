#!/usr/bin/env python3
"""Prints the first of N ports in a row that are free on 127.0.0.1, .2 and .3, below the kernel's own range.

    free_ports.py N          any; aligned blocks, so that a set with a server down keeps its whole block
    free_ports.py N FIRST    only those; exits with 1 if one of them is taken
"""

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


def are_free(first, count):
    return all(is_free(f"127.0.0.{host}", first + n) for host in (1, 2, 3) for n in range(count))


def main():
    count = int(sys.argv[1])
    if len(sys.argv) > 2:
        return 0 if are_free(int(sys.argv[2]), count) else 1
    for _ in range(200):
        first = random.randrange(10_000, 32_000 - count, count)
        if are_free(first, count):
            print(first)
            return 0
    print(f"no {count} free ports in a row between 10000 and 32000", file=sys.stderr)
    return 1


sys.exit(main())
