#!/usr/bin/env python3
"""setting_is.py ADDRESS PORT NAME VALUE: exits with 0 if that is the value in Cassandra's system_views.settings."""

import socket
import sys

import served


def main():
    address, port, name, value = sys.argv[1:]
    local_one = 0x000A
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        text = f"SELECT value FROM system_views.settings WHERE name = '{name}'"
        rows = served.query(connection, text.encode(), local_one)
    # The body of the result ends with its only cell.
    if rows is not None and rows.endswith(len(value).to_bytes(4, "big") + value.encode()):
        return 0
    print(f"{name} is not {value}: {rows!r}")
    return 1


sys.exit(main())
