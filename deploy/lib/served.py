#!/usr/bin/env python3
"""Waits until every server has served a client. Reads a line `NAME KIND ADDRESS PORT PID` for each.

Exits with 0 when all have, and prints servers that run but wait for others; with 3 as soon as a process has exited, and
with 4 when the time is up, and prints the name of that server.
With STITCH_SECURE, the folder of deploy/lib/secure.sh, by TLS and as its users.
Implements just enough of each protocol, because a client in Java would take longer to start than the servers.
"""

import os
import socket
import ssl
import struct
import sys
import time

# The server cannot do more without others.
WAITS = "waits"


# Certificates and passwords, if the servers are secured.
SECURE = os.environ.get("STITCH_SECURE")


def password_of(name):
    with open(os.path.join(SECURE, f"{name}.password"), encoding="ascii") as file:
        return file.read().strip()


def connect(address, port):
    connection = socket.create_connection((address, int(port)), timeout=5)
    if not SECURE:
        return connection
    context = ssl.create_default_context(cafile=os.path.join(SECURE, "ca.pem"))
    certificate, key = (os.path.join(SECURE, f"admin.{part}") for part in ("pem", "key"))
    context.load_cert_chain(certificate, key)
    try:
        return context.wrap_socket(connection, server_hostname=address)
    except OSError:
        connection.close()
        raise


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


def answers(address, port):
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.sendall(b"srvr")
            return connection.recv(1) != b""
    except OSError:
        return False


def member(connection):
    """Serves, or is the only one of three that runs."""
    if ensemble(connection):
        return True
    _address, port = connection.getpeername()
    running = sum(answers(f"127.0.0.{number}", port) for number in (1, 2, 3))
    return WAITS if running == 1 else False


def kafka(connection):
    """Secured, a broker says before anything else which requests it takes (key 18), as soon as it takes any."""
    return kafka_versions(connection) if SECURE else kafka_brokers(connection)


def kafka_versions(connection):
    client = b"deploy-local"
    request = struct.pack(">hhih", 18, 0, 1, len(client)) + client
    connection.sendall(struct.pack(">i", len(request)) + request)
    size = struct.unpack(">i", receive(connection, 4))[0]
    _correlation, error = struct.unpack(">ih", receive(connection, size)[:6])
    return error == 0


def kafka_brokers(connection):
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


def start(connection):
    """STARTUP, and READY, or a password: whether the connection may be used."""
    startup, ready, authenticate, auth_response, auth_success = 1, 2, 3, 15, 16
    options = b"".join(struct.pack(">h", len(word)) + word for word in (b"CQL_VERSION", b"3.0.0"))
    answer, _ = cassandra_frame(connection, startup, struct.pack(">h", 1) + options)
    if answer == ready:
        return True
    if answer != authenticate or not SECURE:
        return False
    # At first there is only the role that everybody knows.
    for user, password in (("admin", password_of("admin")), ("cassandra", "cassandra")):
        token = b"\0" + user.encode() + b"\0" + password.encode()
        answer, _ = cassandra_frame(connection, auth_response, struct.pack(">i", len(token)) + token)
        if answer == auth_success:
            return True
    return False


def query(connection, text, consistency):
    """The body of a query's result, or None, on a new connection."""
    return ask(connection, text, consistency) if start(connection) else None


def ask(connection, text, consistency):
    query_code, result = 7, 8
    body = struct.pack(">i", len(text)) + text + struct.pack(">hB", consistency, 0)
    answer, rows = cassandra_frame(connection, query_code, body)
    return rows if answer == result else None


def cassandra(connection):
    local_one = 0x000A
    return query(connection, b"SELECT release_version FROM system.local", local_one) is not None


def ring(connection):
    """A table that Cassandra itself keeps with RF 3, read from all replicas: answered when this node sees all three."""
    all_replicas = 0x0005
    text = b"SELECT view_name FROM system_distributed.view_build_status"
    return query(connection, text, all_replicas) is not None


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def has_served(kind, address, port):
    probes = {
        "zookeeper": zookeeper,
        "ensemble": ensemble,
        "member": member,
        "kafka": kafka,
        "cassandra": cassandra,
        "ring": ring,
    }
    try:
        with connect(address, port) as connection:
            return probes[kind](connection)
    except (OSError, struct.error, UnicodeDecodeError):
        return False  # Not yet: main() tries again.


def main():
    end = time.monotonic() + float(sys.argv[1])
    waiting = [line.split() for line in sys.stdin]
    while waiting:
        for name, _kind, _address, _port, pid in waiting:
            if not runs(pid):
                print(name)
                return 3
        late = []
        for line in waiting:
            served = has_served(*line[1:4])
            if not served:
                late.append(line)
            elif served == WAITS:
                print(line[0])
        waiting = late
        if waiting and time.monotonic() > end:
            print(waiting[0][0])
            return 4
        time.sleep(0.1 if waiting else 0)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
