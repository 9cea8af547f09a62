"""Checks what no schema says of deploy/compose.yaml: check_compose.py REPOSITORY

Prints what is wrong, and ends with 1 if anything is. A rule that finds nothing to look at is broken, too.
"""

import pathlib
import re
import sys

from ruamel.yaml import YAML

repository = pathlib.Path(sys.argv[1])
compose = YAML(typ="safe").load((repository / "deploy/compose.yaml").read_text())
services = compose["services"]


def settings(file, pattern, separator):
    """The settings of a file of deploy/servers whose names match."""
    lines = (repository / "deploy/servers" / file).read_text().splitlines()
    pairs = [line.split(separator, 1) for line in lines if re.match(pattern, line)]
    return [(name, value.strip()) for name, value in pairs]


def versions():
    """Images of servers have the versions of deploy/versions.env."""
    for name, service in services.items():
        image = service.get("image", "")
        if "STITCH_IMAGE" not in image:
            pinned = re.search(r"\$\{(ZOOKEEPER|KAFKA|CASSANDRA)_VERSION:\?", image)
            yield None if pinned else f"{name}: the image {image!r} has a version of its own: take it from deploy/versions.env"


def loopback():
    """Every published port names the loopback address."""
    for name, service in services.items():
        for port in service.get("ports", []):
            host = port.get("host_ip") if isinstance(port, dict) else str(port).partition(":")[0]
            yield None if host == "127.0.0.1" else f"{name}: {port} is published beyond loopback"


def cassandra():
    """Cassandra's timeouts are those of deploy/local."""
    flags = services["cassandra"]["environment"]["JVM_EXTRA_OPTS"].split()
    for name, value in settings("cassandra.yaml", "(internode|native_transport|[a-z_]*request)_timeout", ":"):
        # A variable in both files is followed by its name here.
        expected = f"-Dcassandra.settings.{name}=" + ("${" if "@" in value else value)
        found = any(flag == expected or "@" in value and flag.startswith(expected) for flag in flags)
        yield None if found else f"Cassandra's {name}: {value} of deploy/servers/cassandra.yaml is missing"


def kafka():
    """Kafka's settings are those of deploy/local."""
    environment = services["kafka"]["environment"]
    for name, value in settings("kafka.properties", r"(log\.retention|auto|offsets|transaction|share|group|broker)\.", "="):
        variable = "KAFKA_" + name.upper().replace(".", "_")
        found = str(environment.get(variable)) == value
        yield None if found else f"{variable}: {value} as in deploy/servers/kafka.properties is missing"


def health():
    """Every program that goes on says whether it is well, by itself: the image has nothing else that could ask."""
    for name, service in services.items():
        match service.get("command"):
            case [str(program), "run"] if program.startswith("stitch-"):
                test = service.get("healthcheck", {}).get("test")
                expected = ["CMD", program, "health"]
                yield None if test == expected else f"{name} runs without a healthcheck: test: {expected}"


wrong = []
for rule in (versions, loopback, cassandra, kafka, health):
    found = list(rule())
    wrong += [one for one in found if one] or ([] if found else [f"{rule.__name__} finds nothing to look at"])
print("\n".join(f"compose.yaml: {one}" for one in wrong) or "compose.yaml: versions, addresses, settings and health checks are valid")
sys.exit(1 if wrong else 0)
