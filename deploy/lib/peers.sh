# shellcheck shell=bash
# The peers of deploy/bench: programs for Kafka Streams and Flink, compiled once with the jars that they need, into
# target/tools/peers/<peer>: classes and lib.

peers_root=$repository/target/tools/peers
peers_sources=$repository/harness/bench/peers

# What a peer depends on: it is built again when this changes.
recipe_of_peer() {
    { grep -E '^(KAFKA|FLINK|JAVA_DRIVER|JACKSON|SLF4J)_' "$repository/deploy/versions.env" &&
        cat "$peers_sources/$1.pom.xml" "$peers_sources"/common/*.java "$peers_sources/$1"/*.java; } | sha256sum | cut -d' ' -f1
}

# Also sets $java.
build_peers() {
    local peer
    find_java || install_peer_tools
    find_java || fail "(j) needs a Java 17: name one by STITCH_JAVA_HOME."
    for peer in streams flink; do
        [ "$(cat "$peers_root/$peer/recipe" 2>/dev/null)" = "$(recipe_of_peer "$peer")" ] || build_peer "$peer"
    done
}

install_peer_tools() {
    may_install || fail "(j) needs Maven and a Java 17 that compiles: sudo apt-get install maven openjdk-17-jdk-headless"
    install_packages maven openjdk-17-jdk-headless
}

build_peer() {
    local peer=$1 folder=$peers_root/$1 log=$directory/peer-$1.log
    command -v mvn >/dev/null && command -v javac >/dev/null || install_peer_tools
    say "building the peer for $peer …"
    rm -rf "$folder"
    mkdir -p "$folder/classes"
    fetch_peer_jars "$peer" "$folder/lib" 2>&1 | without_hosts >"$log" ||
        fail "Maven could not fetch what the peer for $peer needs: $log says why."
    javac -cp "$folder/lib/*" -d "$folder/classes" "$peers_sources"/common/*.java "$peers_sources/$peer"/*.java >>"$log" 2>&1 ||
        fail "the peer for $peer does not compile: $log says why."
    recipe_of_peer "$peer" >"$folder/recipe"
}

fetch_peer_jars() { # PEER FOLDER
    mvn -B -q -Dstyle.color=never --strict-checksums -f "$peers_sources/$1.pom.xml" \
        "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
        -DincludeScope=runtime -DoutputDirectory="$2" \
        -Dkafka.version="$KAFKA_VERSION" \
        -Dflink.version="$FLINK_VERSION" \
        -Dflink-connector-kafka.version="$FLINK_CONNECTOR_KAFKA_VERSION" \
        -Djava-driver.version="$JAVA_DRIVER_VERSION" \
        -Djackson.version="$JACKSON_VERSION" \
        -Dslf4j.version="$SLF4J_VERSION"
}
