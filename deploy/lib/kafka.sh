# shellcheck shell=bash
# Kafka, broker and controller in one process.

# 16 random bytes in Kafka's encoding. The first bit is 0: an id that begins with a dash would be read as an option.
new_cluster_id() {
    "$python" -c '
import base64, secrets
first, *rest = secrets.token_bytes(16)
print(base64.urlsafe_b64encode(bytes([first & 0x7F, *rest])).decode().rstrip("="))'
}

configure_kafka() { # NODE
    local folder=$directory/$1 users=()
    render kafka.properties "$folder/kafka.properties" \
        DATA="$folder/data" ADDRESS="$(address_of "$1")" \
        PORT="$STITCH_KAFKA_PORT" CONTROLLER_PORT="$STITCH_KAFKA_CONTROLLER_PORT"
    if [ "$secure" = yes ]; then
        secure_kafka "$folder/kafka.properties"
        mapfile -t users < <(scram_options)
    fi
    [ ! -f "$folder/data/meta.properties" ] || return 0
    "$java" -cp "$(jars_of kafka)/*" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        "$kafka_log_option" kafka.tools.StorageTool \
        format -t "$(new_cluster_id)" \
        -c "$folder/kafka.properties" "${users[@]}" >"$folder/format.log" 2>&1 || {
        tail -n 5 "$folder/format.log" >&2
        fail "Kafka could not prepare $folder/data ($folder/format.log)."
    }
}

kafka_log_option=-Dlog4j2.configurationFile=file:$repository/deploy/servers/kafka-log4j2.properties
kafka_java_options=(
    -Xms256m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=50 -XX:ParallelGCThreads=2 -XX:ConcGCThreads=1
    -XX:+ExitOnOutOfMemoryError -Djava.net.preferIPv4Stack=true
    "$kafka_log_option"
)

launch_kafka() { # NODE
    # shellcheck disable=SC2046 # one option, or none
    spawn_java "$1" kafka.Kafka "$directory/$1/kafka.properties" -- "${kafka_java_options[@]}" $(tls_java_options)
}
