# shellcheck shell=bash
# The tests of deploy/local with one node each.

set_one() { local_ "$@" --dir "$tested/one"; }

test_one() {
    test_arguments
    test_tools
    test_cluster_id
    test_fetching
    test_memory
    test_ports
    test_two_at_once
    test_second_up
    test_only
    test_oldest
    test_taken_port
    test_settings
    test_freeze
    test_stale_pid_file
    test_down
    test_death_at_start
    test_interrupted_up
}

# Random bytes for which an id could begin with a dash.
test_cluster_id() {
    local modules=$tested/modules id
    mkdir -p "$modules"
    echo 'def token_bytes(size): return bytes([0xFB] * size)' >"$modules/secrets.py"
    id=$(python=python3 && source "$library/kafka.sh" && PYTHONPATH=$modules new_cluster_id)
    expect_true "an id of a Kafka cluster has 22 characters, and begins with no dash" grep -qxE '[A-Za-z0-9_][A-Za-z0-9_-]{21}' <<<"$id"
}

test_arguments() {
    attempt local_ --help
    expect_code "--help exits with 0" 0
    expect_output "--help names the variables with their defaults" 'STITCH_CASSANDRA_PORT +9042'
    attempt local_ upp
    expect_code "an unknown command exits with 2" 2
    attempt set_one up --nodes 2
    expect_code "two nodes are refused" 2
    attempt set_one up --only kafak
    expect_output "servers of no kind are refused" "--only is 'kafak', but it has to be zookeeper, kafka or cassandra"
    attempt env STITCH_KAFKA_PORT=http "$repository/deploy/local" up --dir "$tested/one"
    expect_output "a port that is no number is named" "STITCH_KAFKA_PORT is 'http'"
    attempt set_one status
    expect_code "status of what was never started exits with 1" 1
    attempt set_one start kafka
    expect_code "start in a folder that never was up exits with 2" 2
    attempt set_one freeze
    expect_output "freeze without a node lists the nodes" 'cassandra-1 zookeeper-1 kafka'
}

# Runs code with the helpers, some of whose functions it replaces.
with_helpers() { # CODE
    bash -c 'set -euo pipefail
        repository=$1 library=$1/deploy/lib directory=$2
        source "$library/say.sh"; source "$repository/deploy/versions.env"
        source "$library/tools.sh"; source "$library/jars.sh"
        mkdir -p "$directory"; jars_root=$directory
        sleep() { :; }
        eval "$3"' helpers "$repository" "$tested/helpers" "$1"
}

test_tools() {
    attempt with_helpers 'find_java() { false; }; may_install() { false; }; find_tools'
    expect_code "a missing JDK exits with 2" 2
    expect_output "a missing JDK: what to install" 'apt-get install openjdk-17-jdk-headless'
    attempt with_helpers 'find_java() { [ -f "$directory/java" ]; }; may_install() { true; }
        apt_get() { echo "apt $*" >>"$directory/apt"; [ "$1" = update ] || touch "$directory/java"; }
        find_tools; cat "$directory/apt"'
    expect_code "where that is allowed, the JDK is installed" 0
    expect_output "package lists are updated first" '^apt update$'
    expect_output "the JDK is installed" '^apt install .*openjdk-17-jdk-headless'
    attempt with_helpers 'find_java() { false; }; may_install() { true; }
        apt_get() { echo "E: Failed to fetch https://user:word@mirror.example/x 404"; return 1; }; find_tools'
    expect_code "a failing apt-get exits with 2" 2
    expect_not_output "no name of a mirror is printed" 'mirror.example'
}

test_fetching() {
    attempt with_helpers 'run_maven() { echo try >>"$directory/tries"
            [ "$(wc -l <"$directory/tries")" -gt 2 ] || { echo "[ERROR] Connect to mirror.example:443 timed out"; return 1; }
            mkdir -p "$2"; }
        fetch_jars_of kafka; have_jars_of kafka'
    expect_code "a timeout of the registry is retried" 0
    expect_output "and that is reported" 'attempt 2 of 3'
    attempt with_helpers 'run_maven() { echo "[ERROR] Could not find artifact a:b in x (https://mirror.example/x)"
            echo "Connect to mirror.example:443 timed out"; return 1; }
        fetch_jars_of cassandra'
    expect_code "an artifact that the registry does not have is an error" 2
    expect_not_output "and not requested again" 'attempt'
    expect_not_output "and the registry's name is not printed" 'mirror.example'
    attempt cat "$tested/helpers/cassandra.maven.log"
    expect_output "Maven's output is kept" 'Connect to \(a registry\) timed out'
    expect_not_output "without the registry's name" 'mirror.example'
}

test_memory() {
    attempt env STITCH_CASSANDRA_HEAP_MB=9000000 "$repository/deploy/local" up --dir "$tested/one"
    expect_code "too little memory exits with 2" 2
    expect_output "too little memory: the message has the amount and the remedy" 'need 90[0-9]+ MiB .* lower STITCH_CASSANDRA_HEAP_MB'
}

test_ports() {
    attempt with_helpers 'source "$library/settings.sh"
        python=chosen
        chosen() { [ $# = 3 ] || { echo try >>"$directory/choices"; echo $((9000 + 10 * $(wc -l <"$directory/choices"))); }; }
        mkdir -p "/tmp/stitch-ports-$UID"; exec 5>>"/tmp/stitch-ports-$UID/9010"; flock 5
        reserve_ports; echo "first $first"'
    expect_output "ports on which another up is about to start servers are not chosen" '^first 9020$'
}

test_two_at_once() {
    local other other_code=0
    mkdir -p "$tested"
    set_one up --ports free >"$tested/other.log" 2>&1 &
    other=$!
    attempt set_one up --ports free
    wait "$other" || other_code=$?
    read_ports "$tested/one"
    expect_code "up" 0
    expect_same "up, twice at once" "$other_code $(grep deploy/local: "$tested/other.log" || true)" "0 "
    expect_output "up prints the addresses" "Cassandra +127.0.0.1:$STITCH_CASSANDRA_PORT"
    expect_same "only one of the two starts servers" \
        "$({ echo "$output" && cat "$tested/other.log"; } | grep -c '^all have served')" 1
    attempt set_one status
    expect_code "status exits with 0" 0
    expect_same "three servers run" "$(grep -c running <<<"$output")" 3
    expect_true "servers.json can be read" python3 -m json.tool "$tested/one/servers.json"
    expect_same "servers.env has the pid" "$(sed -n s/^PID_KAFKA=//p "$tested/one/servers.env")" "$(set_one pid kafka || true)"
    expect_same "all sockets listen on loopback" "$(listening_beyond_loopback)" ""
}

listening_beyond_loopback() {
    local pids
    pids=$(sed -n 's/^PID_[A-Z0-9_]*=//p' "$tested/one/servers.env" | paste -sd' ')
    # shellcheck disable=SC2086 # one word a pid
    { python3 "$library/listening.py" $pids || echo failed; } | grep -v '^127\.' || true
}

test_second_up() {
    local before
    before=$(set_one status || true)
    attempt set_one up
    expect_code "a second up changes nothing" 0
    expect_output "a second up prints the remembered ports" "Kafka +127.0.0.1:$STITCH_KAFKA_PORT"
    expect_same "and keeps all processes" "$(set_one status || true)" "$before"
    attempt env STITCH_KAFKA_PORT=1999 "$repository/deploy/local" up --dir "$tested/one"
    expect_code "another port while they run is refused" 2
    attempt set_one up --nodes 3
    expect_output "three nodes in a folder made with one: what to do" 'down --wipe'
}

test_only() {
    attempt local_ up --only zookeeper --dir "$tested/only" --ports free
    expect_code "servers of one kind start alone" 0
    attempt local_ status --dir "$tested/only"
    expect_same "and status knows no others" "$(wc -l <<<"$output") $(grep -c '^zookeeper-1 *running' <<<"$output")" "1 1"
    expect_true "servers.json can be read" python3 -m json.tool "$tested/only/servers.json"
    attempt local_ up --only kafka --dir "$tested/only"
    expect_output "servers of another kind are refused in their folder" 'down --wipe'
    expect_true "they are stopped" local_ down --wipe --dir "$tested/only"
}

pinned() { sed -n "s/^$1=//p" "$repository/deploy/versions.env"; } # NAME

# The release as the server itself says it.
test_oldest() {
    attempt local_ up --oldest --only cassandra --dir "$tested/oldest" --ports free
    expect_code "the oldest Cassandra starts" 0
    attempt grep -o 'Cassandra version: .*' "$tested/oldest/cassandra-1/log"
    expect_same "and it is the pinned one" "$output" "Cassandra version: $(pinned CASSANDRA_OLDEST_VERSION)"
    expect_true "it is stopped" local_ down --dir "$tested/oldest"
    attempt local_ up --only cassandra --dir "$tested/oldest"
    expect_code "it starts again" 0
    attempt grep -o 'Cassandra version: .*' "$tested/oldest/cassandra-1/log"
    expect_same "and is what it was created with" "$output" "Cassandra version: $(pinned CASSANDRA_OLDEST_VERSION)"
    attempt set_one up --oldest
    expect_output "another Cassandra's data is not touched" 'created without --oldest: .*down --wipe'
    expect_true "it is stopped" local_ down --wipe --dir "$tested/oldest"
}

test_taken_port() {
    attempt local_ up --dir "$tested/other" --ports "$STITCH_ZOOKEEPER_PORT"
    expect_code "taken ports end with 2" 2
    expect_output "a taken port: which, by whom, what to do" \
        "port 127.0.0.1:$STITCH_KAFKA_PORT is taken by process [0-9]+ .*$tested/one.*; choose another by STITCH_KAFKA_PORT"
    attempt local_ status --dir "$tested/other"
    expect_not_output "and nothing was started" running
}

test_settings() {
    local name value
    while read -r name value; do
        expect_true "Cassandra has $name = $value" \
            python3 "$library/setting_is.py" 127.0.0.1 "$STITCH_CASSANDRA_PORT" "$name" "$value"
    done <<'TABLE'
counter_write_request_timeout 1500ms
native_transport_timeout 2000ms
native_transport_idle_timeout 40000ms
internode_timeout true
batch_size_fail_threshold 50KiB
TABLE
}

test_freeze() {
    attempt set_one freeze zookeeper-1
    expect_code "freeze" 0
    attempt set_one status
    expect_code "status exits with 1 when a node is frozen" 1
    expect_output "a frozen node is reported" 'zookeeper-1 +frozen'
    attempt set_one up
    expect_output "up names a frozen node and how to wake it" 'thaw zookeeper-1'
    attempt set_one thaw zookeeper-1
    expect_true "a node serves again after thaw" set_one up
}

test_stale_pid_file() {
    attempt set_one kill zookeeper-1
    expect_code "kill" 0
    echo $$ >"$tested/one/zookeeper-1/pid"
    attempt set_one status
    expect_output "a pid file that names another program is recognised" 'zookeeper-1 +stopped'
    attempt set_one up
    expect_code "up starts only what is missing" 0
    expect_output "and that is reported" '^starting zookeeper-1 …$'
}

test_down() {
    local pids pid alive=0
    pids=$(sed -n 's/^PID_[A-Z0-9_]*=//p' "$tested/one/servers.env")
    attempt set_one freeze kafka
    attempt set_one down
    expect_code "down, with a frozen node" 0
    for pid in $pids; do [[ $(ps -o stat= -p "$pid") =~ ^(Z|$) ]] || alive=$((alive + 1)); done
    expect_same "when down returns, all processes have exited" "$alive" 0
    attempt set_one down
    expect_code "down succeeds when nothing runs" 0
    attempt local_ down --dir "$tested/never"
    expect_code "down succeeds where nothing ever ran" 0
}

test_death_at_start() {
    attempt env STITCH_CASSANDRA_HEAP_MB=1 "$repository/deploy/local" up --dir "$tested/one"
    expect_code "a server that dies at its start exits with 2" 2
    expect_output "the end of its log is printed" 'Too small'
    expect_output "and the path of its log" "cassandra-1 died at its start.*$tested/one/cassandra-1/log"
    attempt set_one status
    expect_not_output "nothing is left running" running
    attempt set_one down --wipe
    expect_true "down --wipe deletes the data" test ! -e "$tested/one/kafka"
}

test_interrupted_up() {
    local up up_code=0
    # exec: the signal has to go to deploy/local itself, and to nothing that it started.
    (exec "$repository/deploy/local" up --dir "$tested/one" --ports free) >"$tested/other.log" 2>&1 &
    up=$!
    until set_one pid cassandra-1 >/dev/null 2>&1 || ! kill -0 "$up" 2>/dev/null; do sleep 0.1; done
    kill -TERM "$up" 2>/dev/null || true
    wait "$up" || up_code=$?
    expect_same "an interrupted up exits with the code of the signal" "$up_code" 143
    attempt set_one status
    expect_not_output "and leaves nothing running" running
}
