# shellcheck shell=bash
# One Cassandra node. With three, each holds a third of the ring, so that RF 3 puts every row on all.

configure_cassandra() { # NODE
    local name=$1 folder=$directory/$1 token=0
    if [ "$nodes" -eq 3 ]; then
        case $(number_of "$name") in
            1) token=-6148914691236517206 ;;
            2) token=0 ;;
            3) token=6148914691236517205 ;;
        esac
    fi
    render cassandra.yaml "$folder/cassandra.yaml" SEEDS="$(seeds)" \
        TOKEN="$token" ADDRESS="$(address_of "$name")" DATA="$folder/data" \
        PORT="$STITCH_CASSANDRA_PORT" STORAGE_PORT="$STITCH_CASSANDRA_STORAGE_PORT" \
        COUNTER_TIMEOUT_MS="$STITCH_CASSANDRA_COUNTER_TIMEOUT_MS" IDLE_TIMEOUT_MS="$STITCH_CASSANDRA_IDLE_TIMEOUT_MS"
    [ "$secure" = no ] || secure_cassandra "$folder/cassandra.yaml"
    if [ -d "$folder/commit-log" ]; then own_commit_log "$folder"; fi
}

# A commit log in a folder that is not among the data (deploy/lib/commit-log.sh). Every write waits for it, and it is
# compressed, so that it is written and not mapped into memory: a stalled page would stop the whole process.
own_commit_log() { # FOLDER
    sed -i -e "s|^commitlog_directory: .*|commitlog_directory: $1/commit-log|" -e '/^commitlog_sync_period: /d' \
        -e 's|^commitlog_sync: .*|commitlog_sync: batch\ncommitlog_compression:\n  - class_name: LZ4Compressor|' \
        "$1/cassandra.yaml"
}

# Every node is a seed, so that they can start in any order.
seeds() {
    local number list=()
    for ((number = 1; number <= nodes; number++)); do list+=("127.0.0.$number:$STITCH_CASSANDRA_STORAGE_PORT"); done
    (IFS=, && echo "${list[*]}")
}

jmx_port_of() { echo $((STITCH_CASSANDRA_JMX_PORT + $(number_of "$1") - 1)); }

launch_cassandra() { # NODE
    local name=$1 folder=$directory/$1 options ring_delay_ms=0 java=$java
    [ "$oldest" = no ] || java=$java_11
    # Three nodes have to learn of each other first.
    [ "$nodes" -eq 1 ] || ring_delay_ms=1000
    mapfile -t options < <(grep -Ev '^(#|$)' "$repository/deploy/servers/cassandra-jvm17.options")
    # A login costs 80 ms of a core with the default of 10, and each connection of each program that a test starts logs in.
    [ "$secure" = no ] || options+=(-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4)
    spawn_java "$name" org.apache.cassandra.service.CassandraDaemon -- \
        -Xms"${STITCH_CASSANDRA_HEAP_MB}m" -Xmx"${STITCH_CASSANDRA_HEAP_MB}m" "${options[@]}" \
        -Dcassandra.config="file://$folder/cassandra.yaml" -Dcassandra.storagedir="$folder/data" \
        -Dcassandra.jmx.local.port="$(jmx_port_of "$name")" -Dcassandra.ring_delay_ms="$ring_delay_ms" \
        -Dlogback.configurationFile="file://$repository/deploy/servers/logback.xml"
}

# Whether every node runs, so that each should see the others.
ring_is_whole() {
    local number pid
    for ((number = 1; number <= nodes; number++)); do
        pid=$(pid_of "cassandra-$number") || return 1
        [ "$(state_of_pid "$pid")" != T ] || return 1
    done
}
