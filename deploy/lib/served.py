#!/usr/bin/env python3
"""Waits until a server has served a client: 0 when it has, 3 when its process ended, 4 when time is up.

Speaks just enough of each protocol with Python's own library, because a JVM as a client would take longer to start
than the servers do.
"""

import argparse
import socket
import struct
import sys
import time


def receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def zookeeper_mode(connection):
    """The mode that `srvr` reports; only a server that serves has one."""
    connection.sendall(b"srvr")
    answer = b""
    while part := connection.recv(4096):
        answer += part
    for line in answer.decode().splitlines():
        if line.startswith("Mode: "):
            return line[len("Mode: "):]
    return None


def zookeeper(connection):
    return zookeeper_mode(connection) == "standalone"


def ensemble(connection):
    return zookeeper_mode(connection) in ("leader", "follower")


def kafka(connection):
    """A metadata request (key 3, version 0) for no topic in particular: answered with at least one broker."""
    client = b"deploy-local"
    request = struct.pack(">hhih", 3, 4, 1, len(client)) + client + struct.pack(">ib", 0, 0)
    connection.sendall(struct.pack(">i", len(request)) + request)
    size = struct.unpack(">i", receive(connection, 4))[0]
    answer = receive(connection, size)
    _correlation, _throttle_ms, brokers = struct.unpack(">iii", answer[:12])
    return brokers > 0


def cassandra_frame(connection, opcode, body):
    connection.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
    _version, _flags, _stream, answer, size = struct.unpack(">BBhBi", receive(connection, 9))
    return answer, receive(connection, size)


def query_answered(connection, text, consistency):
    """STARTUP, READY, then a query that has to come back with a result."""
    startup, ready, query, result = 1, 2, 7, 8
    options = b"".join(struct.pack(">h", len(word)) + word for word in (b"CQL_VERSION", b"3.0.0"))
    answer, _ = cassandra_frame(connection, startup, struct.pack(">h", 1) + options)
    if answer != ready:
        return False
    body = struct.pack(">i", len(text)) + text + struct.pack(">hB", consistency, 0)
    answer, _ = cassandra_frame(connection, query, body)
    return answer == result


def cassandra(connection):
    local_one = 0x000A
    return query_answered(connection, b"SELECT release_version FROM system.local", local_one)


def ring(connection):
    """A table that Cassandra itself keeps with RF 3, read from all replicas: answered when this node sees all three."""
    all_replicas = 0x0005
    return query_answered(connection, b"SELECT view_name FROM system_distributed.view_build_status", all_replicas)


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["zookeeper", "ensemble", "kafka", "cassandra", "ring"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--within", type=float, required=True, help="seconds")
    options = parser.parse_args()
    served = globals()[options.kind]
    end = time.monotonic() + options.within
    while time.monotonic() < end:
        if not runs(options.pid):
            return 3
        try:
            with socket.create_connection((options.address, options.port), timeout=5) as connection:
                if served(connection):
                    return 0
        except (OSError, struct.error, UnicodeDecodeError):
            pass  # Not yet: that is what the loop is for.
        time.sleep(0.1)
    return 4


sys.exit(main())
