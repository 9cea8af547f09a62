#!/usr/bin/env python3
"""setting_is.py ADDRESS PORT NAME VALUE: 0 if Cassandra's system_views.settings says so."""

import socket
import sys

import served


def main():
    address, port, name, value = sys.argv[1:]
    local_one = 0x000A
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        text = f"SELECT value FROM system_views.settings WHERE name = '{name}'"
        rows = served.query(connection, text.encode(), local_one)
    # The only cell of the only row ends the body of the result.
    if rows is not None and rows.endswith(len(value).to_bytes(4, "big") + value.encode()):
        return 0
    print(f"{name} is not {value}: {rows!r}")
    return 1


sys.exit(main())
