# shellcheck shell=bash
# Settings from arguments, the environment and the last `up`, in this order of precedence.

# Every setting: variable, default, meaning. The help text and the folder's settings.env follow this table, and --ports
# assigns ports in its order (the last one may need three).
setting_table() {
    cat <<'TABLE'
STITCH_ZOOKEEPER_PORT|2181|clients of ZooKeeper
STITCH_KAFKA_PORT|9092|clients of Kafka
STITCH_CASSANDRA_PORT|9042|clients of Cassandra
STITCH_ZOOKEEPER_PEER_PORT|2888|ensemble of ZooKeeper (three nodes)
STITCH_ZOOKEEPER_ELECTION_PORT|3888|election of its leader (three nodes)
STITCH_KAFKA_CONTROLLER_PORT|9093|Kafka's controller
STITCH_CASSANDRA_STORAGE_PORT|7000|Cassandra's nodes among themselves
STITCH_CASSANDRA_JMX_PORT|7199|nodetool; the nodes take this port and the next ones
STITCH_CASSANDRA_HEAP_MB|768|heap of each Cassandra node
STITCH_ZOOKEEPER_SESSION_MAX_MS|4000|longest session that ZooKeeper grants
STITCH_CASSANDRA_COUNTER_TIMEOUT_MS|1500|counter_write_request_timeout
STITCH_CASSANDRA_IDLE_TIMEOUT_MS|40000|native_transport_idle_timeout
TABLE
}

usage() {
    cat <<'TEXT'
ZooKeeper, Kafka and Cassandra on this machine, on loopback addresses only.

  deploy/local up [--nodes 1|3] [--only KIND] [--secure] [--oldest] [--dir D] [--ports N|free]
                                            start them; returns when each has served a client
  deploy/local down [--wipe]                stop them; --wipe also deletes their data
  deploy/local status                       state, pid and address of each; 1 unless all run
  deploy/local logs [NODE]                  the last lines of the logs

  deploy/local freeze NODE | thaw NODE      SIGSTOP, SIGCONT
  deploy/local kill NODE | start NODE       SIGKILL; start again, and return when it serves (or waits
                                            for other ZooKeeper servers of three)
  deploy/local pid NODE                     its process id

NODE is zookeeper-1, kafka, cassandra-1 (with --nodes 3 also -2 and -3 of both, on 127.0.0.2 and 127.0.0.3).
--dir D (or STITCH_LOCAL_DIR) is the folder of one set of servers; several sets can run at the same
time, each in its own folder and on its own ports. Default: target/local. --ports N uses the ten ports from N on,
--ports free finds ten. `up` writes D/servers.env and D/servers.json for programs to read.

With --only zookeeper, kafka or cassandra the set has these alone: a second cluster of Cassandra for `[batch.cassandra]`.

With --secure (one node each) all connections are by TLS with client certificates, ZooKeeper has identities, Kafka SCRAM
and PLAIN, Cassandra passwords and permissions. D/secure has the certificates and passwords, and in client.toml the
sections of a configuration for them.

With --oldest Cassandra is of the oldest version that Stitch supports (on x86-64 with a Java 11 from PyPI; elsewhere
STITCH_JAVA_11_HOME names one).

Variables and defaults (a folder keeps the settings of its last `up`):
TEXT
    setting_table | while IFS='|' read -r name default meaning; do
        printf '  %-36s %-6s %s\n' "$name" "$default" "$meaning"
    done
    cat <<'TEXT'
  STITCH_JAVA_HOME                            a Java 17, when the one on the path is another
  STITCH_JAVA_11_HOME                         a Java 11 for --oldest
  STITCH_INSTALL                       yes    no: report what is missing, install nothing

Example: a second set, with three nodes each
  deploy/local up --nodes 3 --dir target/three --ports free
TEXT
}

read_arguments() {
    directory=${STITCH_LOCAL_DIR:-$repository/target/local}
    nodes='' node='' wipe=no ports='' secure='' oldest='' only=''
    while [ $# -gt 0 ]; do
        case $1 in
            --dir=* | --nodes=* | --ports=* | --only=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
            --dir | --nodes | --ports | --only)
                [ $# -gt 1 ] || fail "$1 needs a value: deploy/local --help."
                case $1 in --dir) directory=$2 ;; --nodes) nodes=$2 ;; --ports) ports=$2 ;; --only) only=$2 ;; esac
                shift 2
                ;;
            --wipe) wipe=yes && shift ;;
            --secure) secure=yes && shift ;;
            --oldest) oldest=yes && shift ;;
            -h | --help) usage && exit 0 ;;
            -*) fail "there is no option '$1': deploy/local --help lists them." ;;
            *)
                [ -z "$node" ] || fail "one node at a time, please: '$1' is one too many."
                node=$1 && shift
                ;;
        esac
    done
    directory=$(realpath -m -- "$directory")
}

# Sets the variables of the table, and $nodes. A folder keeps the settings of its last `up`; only an `up` that finds no
# server running may change them.
resolve_settings() { # COMMAND
    local name default value kept requested offset=0 changes=()
    first=''
    created_with=$(saved_setting NODES)
    if [ "$1" = up ]; then choose_ports; fi
    while IFS='|' read -r name default _; do
        requested=${!name:-}
        if [ -n "$first" ] && [[ $name == *_PORT ]]; then requested=$((first + offset++)); fi
        kept=$(saved_setting "$name")
        value=${kept:-$default}
        if [ "$1" = up ] && [ -n "$requested" ]; then
            [ "$requested" = "$value" ] || [ -z "$kept" ] || changes+=("$name=$kept")
            value=$requested
        fi
        check_number "$name" "$value"
        printf -v "$name" '%s' "$value"
    done < <(setting_table)
    [ "$1" = up ] || nodes=''
    [ -n "$nodes" ] || nodes=${created_with:-1}
    case $nodes in 1 | 3) ;; *) fail "--nodes is '$nodes', but it has to be 1 or 3." ;; esac
    keep_flag secure
    keep_flag oldest
    # Their jars are in a folder of their own.
    [ "$oldest" = no ] || CASSANDRA_VERSION=$CASSANDRA_OLDEST_VERSION
    [ "$secure" = no ] || [ "$nodes" = 1 ] || fail "--secure is for --nodes 1."
    case $only in '' | zookeeper | kafka | cassandra) ;; *) fail "--only is '$only', but it has to be zookeeper, kafka or cassandra." ;; esac
    kept=$(saved_setting ONLY)
    if [ -n "$created_with" ] && [ -n "$only" ] && [ "$kept" != "$only" ]; then
        fail "the servers in $directory were created with others than --only $only: deploy/local down --wipe --dir $directory," \
            "or choose another --dir."
    fi
    only=${kept:-$only}
    if [ ${#changes[@]} -gt 0 ] && any_runs; then
        fail "the servers in $directory run with ${changes[*]}: keep that, or stop them first by" \
            "deploy/local down --dir $directory."
    fi
}

# Sets a flag of `up` to what the folder was created with; one that was created without cannot get it.
keep_flag() { # secure|oldest
    local kept requested=${!1:-no}
    kept=$(saved_setting "${1^^}")
    if [ -n "$created_with" ] && [ "$requested" = yes ] && [ "$kept" != yes ]; then
        fail "the servers in $directory were created without --$1: deploy/local down --wipe --dir $directory, or" \
            "choose another --dir."
    fi
    printf -v "$1" '%s' "${kept:-$requested}"
}

# Sets $first to the first port that --ports chooses; to nothing if the variables decide.
choose_ports() {
    case $ports in
        '') ;;
        free)
            # A folder keeps its ports: a second `up` changes nothing.
            if [ -n "$created_with" ]; then return 0; fi
            find_python || find_tools
            reserve_ports
            ;;
        *)
            check_number --ports "$ports"
            first=$ports
            ;;
    esac
}

# Sets $first to the first of ten free ports, which no other `up` chooses before our servers listen on them: their file is
# locked (descriptor 7) until this `up` ends. A file that is not locked has no meaning.
reserve_ports() {
    local attempt folder=/tmp/stitch-ports-$UID
    mkdir -p "$folder"
    for attempt in {1..20}; do
        first=$("$python" "$library/free_ports.py" 10) || break
        exec 7>>"$folder/$first"
        # An `up` that had them may have started its servers since they were chosen.
        if flock -n 7 && "$python" "$library/free_ports.py" 10 "$first"; then return 0; fi
    done
    fail "no ten free ports in a row after $attempt attempts: choose them by --ports N."
}

check_number() { # NAME VALUE
    [[ $2 =~ ^[1-9][0-9]{0,6}$ ]] || fail "$1 is '$2', but it has to be a whole number above 0."
    [[ $1 != *_PORT ]] || [ "$2" -le 65533 ] || fail "$1 is $2, but a port is at most 65533 here."
}

saved_setting() {
    [ -f "$directory/settings.env" ] || return 0
    sed -n "s/^$1=//p" "$directory/settings.env"
}

save_settings() {
    local name _
    {
        echo "NODES=$nodes"
        echo "SECURE=$secure"
        echo "OLDEST=$oldest"
        echo "ONLY=$only"
        while IFS='|' read -r name _; do echo "$name=${!name}"; done < <(setting_table)
    } >"$directory/settings.env"
}

# The nodes of this set, one a line, in the order of their start: the slowest first.
node_names() {
    local number
    for ((number = 1; number <= nodes; number++)); do if has_kind cassandra; then echo "cassandra-$number"; fi; done
    for ((number = 1; number <= nodes; number++)); do if has_kind zookeeper; then echo "zookeeper-$number"; fi; done
    if has_kind kafka; then echo kafka; fi
}

# Whether this set has servers of a kind.
has_kind() { [ "${only:-$1}" = "$1" ]; }

kind_of() { echo "${1%-*}"; }
number_of() { case $1 in *-*) echo "${1##*-}" ;; *) echo 1 ;; esac }
address_of() { echo "127.0.0.$(number_of "$1")"; }
port_of() {
    case $(kind_of "$1") in
        zookeeper) echo "$STITCH_ZOOKEEPER_PORT" ;;
        kafka) echo "$STITCH_KAFKA_PORT" ;;
        cassandra) echo "$STITCH_CASSANDRA_PORT" ;;
    esac
}
