# shellcheck shell=bash
# The tests of deploy/local with three nodes.

set_three() { local_ "$@" --dir "$tested/three"; }

test_three() {
    local name
    attempt set_three up --nodes 3 --ports free
    read_ports "$tested/three"
    expect_code "up --nodes 3" 0
    expect_output "three Cassandra nodes on three addresses" \
        "127.0.0.1:$STITCH_CASSANDRA_PORT,127.0.0.2:$STITCH_CASSANDRA_PORT,127.0.0.3:$STITCH_CASSANDRA_PORT"
    attempt set_three status
    expect_same "seven servers run" "$(grep -c running <<<"$output")" 7
    for name in 1 2 3; do
        expect_true "Cassandra node $name reads from all replicas" probe ring "cassandra-$name" "$STITCH_CASSANDRA_PORT"
        expect_true "ZooKeeper $name has a leader" probe ensemble "zookeeper-$name" "$STITCH_ZOOKEEPER_PORT"
    done
    attempt set_three freeze cassandra-2
    expect_code "freeze a node" 0
    attempt probe ring cassandra-1 "$STITCH_CASSANDRA_PORT" 3
    expect_code "with a frozen node, not all replicas answer" 4
    attempt set_three thaw cassandra-2
    expect_true "after thaw they do" probe ring cassandra-1 "$STITCH_CASSANDRA_PORT"
    attempt set_three kill cassandra-3
    expect_code "kill a node" 0
    attempt set_three start cassandra-3
    expect_code "start it again: all replicas answer" 0
    attempt set_three kill zookeeper-1
    expect_true "two of three still have a leader" probe ensemble zookeeper-2 "$STITCH_ZOOKEEPER_PORT"
    attempt set_three start zookeeper-1
    expect_code "start the third again" 0
    for name in 1 2 3; do set_three kill "zookeeper-$name"; done
    attempt set_three start zookeeper-3
    expect_code "start one of three that are down" 0
    expect_output "it waits for the others" "zookeeper-3 runs, and serves as soon as another ZooKeeper server does"
    attempt set_three start zookeeper-1
    expect_code "start another" 0
    expect_true "two of them have a leader" probe ensemble zookeeper-1 "$STITCH_ZOOKEEPER_PORT"
    attempt set_three up
    expect_code "up starts the third" 0
    attempt set_three down
    expect_code "down" 0
}

probe() { # KIND NODE PORT [SECONDS]
    local pid
    pid=$(set_three pid "$2") || return 1
    echo "$2 $1 127.0.0.${2##*-} $3 $pid" | python3 "$library/served.py" "${4:-30}"
}
