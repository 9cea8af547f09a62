# shellcheck shell=bash
# The servers' jars, fetched once by Maven and shared by all sets: target/servers/<kind>-<version>.

jars_root=$repository/target/servers
kinds=(zookeeper kafka cassandra)

version_of() {
    case $1 in
        zookeeper) echo "$ZOOKEEPER_VERSION" ;;
        kafka) echo "$KAFKA_VERSION" ;;
        cassandra) echo "$CASSANDRA_VERSION" ;;
    esac
}

jars_of() { echo "$jars_root/$1-$(version_of "$1")"; }

# What a folder of jars depends on; they are fetched again when this changes.
recipe_of() {
    { grep -E '^(ZOOKEEPER|KAFKA|CASSANDRA)_' "$repository/deploy/versions.env" && cat "$repository/deploy/servers/$1.pom.xml"; } |
        sha256sum | cut -d' ' -f1
}

have_jars_of() { [ "$(cat "$(jars_of "$1")/recipe" 2>/dev/null)" = "$(recipe_of "$1")" ]; }

have_jars() {
    local kind
    for kind in "${kinds[@]}"; do have_jars_of "$kind" || return 1; done
}

fetch_jars() {
    local kind
    have_jars && return 0
    mkdir -p "$jars_root"
    # Another deploy/local may be fetching: one at a time, and only what is still missing.
    exec 8>"$jars_root/.lock"
    flock -w 900 8 || fail "another deploy/local has been fetching jars for 15 minutes: stop it, then try again."
    for kind in "${kinds[@]}"; do
        have_jars_of "$kind" || fetch_jars_of "$kind"
    done
    exec 8>&-
}

fetch_jars_of() {
    local kind=$1 folder partial attempt log=$jars_root/$1.maven.log
    folder=$(jars_of "$kind")
    partial=$folder.partial
    say "fetching $kind $(version_of "$kind") …"
    for attempt in 1 2 3; do
        rm -rf "$partial"
        if run_maven "$kind" "$partial" 2>&1 | without_hosts >"$log"; then
            recipe_of "$kind" >"$partial/recipe"
            rm -rf "$folder"
            mv "$partial" "$folder"
            return 0
        fi
        # A timeout may be temporary; an answer that an artifact does not exist is not.
        if grep -Eqi 'could not find artifact|was not found in|status: 40[0-9]|forbidden' "$log"; then break; fi
        [ "$attempt" = 3 ] || say "fetching $kind failed (attempt $attempt of 3); retrying in $((attempt * 5)) s …"
        [ "$attempt" = 3 ] || sleep $((attempt * 5))
    done
    grep -F '[ERROR]' "$log" | head -n 1 | cut -c 1-700 >&2 || true
    fail "Maven could not fetch $kind $(version_of "$kind") ($log): is this machine online, and do" \
        "Maven's settings and deploy/versions.env name what its registry has?"
}

run_maven() { # KIND FOLDER
    mvn -B -q -Dstyle.color=never --strict-checksums -f "$repository/deploy/servers/$1.pom.xml" \
        "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
        -DincludeScope=runtime -DoutputDirectory="$2" \
        -Dzookeeper.version="$ZOOKEEPER_VERSION" \
        -Dzookeeper.metrics.version="$ZOOKEEPER_METRICS_VERSION" \
        -Dzookeeper.snappy.version="$ZOOKEEPER_SNAPPY_VERSION" \
        -Dzookeeper.commons-cli.version="$ZOOKEEPER_COMMONS_CLI_VERSION" \
        -Dzookeeper.logback.version="$ZOOKEEPER_LOGBACK_VERSION" \
        -Dkafka.version="$KAFKA_VERSION" \
        -Dkafka.scala.version="$KAFKA_SCALA_VERSION" \
        -Dkafka.log4j-slf4j.version="$KAFKA_LOG4J_SLF4J_VERSION" \
        -Dcassandra.version="$CASSANDRA_VERSION"
}
