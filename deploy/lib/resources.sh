# shellcheck shell=bash
# Checks that the servers' ports are free, and that there is enough memory.

# Every port that a node listens on: variable and address:port, one a line.
ports_of() { # NODE
    local name=$1 address
    address=$(address_of "$name")
    echo "$(kind_of "$name" | tr '[:lower:]' '[:upper:]' | sed 's/.*/STITCH_&_PORT/') $address:$(port_of "$name")"
    case $(kind_of "$name") in
        zookeeper)
            [ "$nodes" -gt 1 ] || return 0
            echo "STITCH_ZOOKEEPER_PEER_PORT $address:$STITCH_ZOOKEEPER_PEER_PORT"
            echo "STITCH_ZOOKEEPER_ELECTION_PORT $address:$STITCH_ZOOKEEPER_ELECTION_PORT"
            ;;
        kafka) echo "STITCH_KAFKA_CONTROLLER_PORT $address:$STITCH_KAFKA_CONTROLLER_PORT" ;;
        cassandra)
            echo "STITCH_CASSANDRA_STORAGE_PORT $address:$STITCH_CASSANDRA_STORAGE_PORT"
            echo "STITCH_CASSANDRA_JMX_PORT 127.0.0.1:$(jmx_port_of "$name")"
            ;;
    esac
}

check_ports() { # NODE...
    local name taken
    taken=$(for name in "$@"; do ports_of "$name"; done | "$python" "$library/taken_ports.py") || {
        say "$taken"
        fail "stop the process that holds the port, or choose another port by the variable above, or ten free ones:" \
            "deploy/local up --dir $directory --ports free."
    }
}

# Resident memory, measured: a Cassandra node needs about 480 MiB besides its heap, Kafka 400, ZooKeeper 100.
check_memory() { # NODE...
    local name needed=0 available
    for name in "$@"; do
        case $(kind_of "$name") in
            cassandra) needed=$((needed + STITCH_CASSANDRA_HEAP_MB + 480)) ;;
            kafka) needed=$((needed + 400)) ;;
            zookeeper) needed=$((needed + 100)) ;;
        esac
    done
    available=$(available_memory)
    [ "$available" -ge "$needed" ] || fail "these servers need $needed MiB of memory, and $available MiB are free:" \
        "stop other programs, use --nodes 1, or lower STITCH_CASSANDRA_HEAP_MB (now $STITCH_CASSANDRA_HEAP_MB; 512 is enough for small tests)."
}

# Available MiB: of the machine, or of the control group if its limit is lower.
available_memory() {
    local machine group limit used cached
    machine=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    group=/sys/fs/cgroup
    limit=$(cat $group/memory.max 2>/dev/null || echo max)
    if [ "$limit" != max ]; then
        used=$(cat $group/memory.current)
        cached=$(awk '$1 == "inactive_file" { print $2 }' $group/memory.stat)
        limit=$(((limit - used + cached) / 1048576))
        [ "$limit" -ge "$machine" ] || machine=$limit
    fi
    echo "$machine"
}
