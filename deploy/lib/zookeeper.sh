# shellcheck shell=bash
# One ZooKeeper node: standalone, or a member of an ensemble of three.

configure_zookeeper() { # NODE
    local name=$1 folder=$directory/$1 member
    render zookeeper.cfg "$folder/zookeeper.cfg" \
        SESSION_MAX_MS="$STITCH_ZOOKEEPER_SESSION_MAX_MS" DATA="$folder/data" \
        CLIENT_PORT="$STITCH_ZOOKEEPER_PORT" ADDRESS="$(address_of "$name")"
    [ "$secure" = no ] || secure_zookeeper "$folder/zookeeper.cfg"
    [ "$nodes" -gt 1 ] || return 0
    number_of "$name" >"$folder/data/myid"
    for ((member = 1; member <= nodes; member++)); do
        echo "server.$member=127.0.0.$member:$STITCH_ZOOKEEPER_PEER_PORT:$STITCH_ZOOKEEPER_ELECTION_PORT"
    done >>"$folder/zookeeper.cfg"
}

launch_zookeeper() { # NODE
    local name=$1 main=org.apache.zookeeper.server.ZooKeeperServerMain
    [ "$nodes" -eq 1 ] || main=org.apache.zookeeper.server.quorum.QuorumPeerMain
    # forceSync=no: a killed server loses nothing (a power cut may), and a slow disk expires no session.
    # shellcheck disable=SC2046 # one option, or none
    spawn_java "$name" "$main" "$directory/$name/zookeeper.cfg" -- \
        -Xms64m -Xmx256m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Djava.net.preferIPv4Stack=true \
        -Dzookeeper.forceSync=no -Dzookeeper.preAllocSize=4096 \
        -Dlogback.configurationFile="$repository/deploy/servers/logback.xml" -Dstitch.log.level=WARN \
        $(tls_java_options)
}
