#!/usr/bin/env python3
"""roles.py ADDRESS PORT: creates the roles of a secured Cassandra, and locks out the one that everybody knows.

STITCH_SECURE is the folder with the certificates and passwords (deploy/lib/secure.sh).
"""

import sys

import served

LOCAL_ONE = 0x000A


def main():
    address, port = sys.argv[1:]
    passwords = {name: served.password_of(name) for name in ("admin", "stitch", "reader", "nobody")}
    # As the role that everybody knows, once; later as the one that this makes.
    statements = [
        f"CREATE ROLE IF NOT EXISTS admin WITH PASSWORD = '{passwords['admin']}' AND LOGIN = true AND SUPERUSER = true",
    ]
    run(address, port, statements)
    statements = [
        f"CREATE ROLE IF NOT EXISTS {name} WITH PASSWORD = '{passwords[name]}' AND LOGIN = true"
        for name in ("stitch", "reader", "nobody")
    ]
    # Who creates a keyspace may do everything with it.
    statements.append("GRANT CREATE ON ALL KEYSPACES TO stitch")
    statements.append("GRANT SELECT ON KEYSPACE system_views TO stitch")
    statements.append("GRANT SELECT ON ALL KEYSPACES TO reader")
    statements.append("ALTER ROLE cassandra WITH LOGIN = false AND SUPERUSER = false")
    run(address, port, statements)
    return 0


def run(address, port, statements):
    with served.connect(address, port) as connection:
        if not served.start(connection):
            raise SystemExit("no role may log in")
        for statement in statements:
            if served.ask(connection, statement.encode(), LOCAL_ONE) is None:
                # Nothing of a statement is shown: it may have a password.
                raise SystemExit(f"Cassandra refuses: {' '.join(statement.split()[:4])} …")


if __name__ == "__main__":
    sys.exit(main())
