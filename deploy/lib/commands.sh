# shellcheck shell=bash
# The commands of deploy/local.

# Locked before the settings are read, so that of two concurrent `up` the second finds the settings of the first.
lock_folder() { # COMMAND
    case $1 in
        up) mkdir -p "$directory" ;;
        down | kill | start) [ -d "$directory" ] || return 0 ;;
        *) return 0 ;;
    esac
    exec 9>"$directory/.lock"
    flock -w 600 9 || fail "another deploy/local works in $directory: wait for it, or stop it."
}

command_up() {
    local name pid missing=() running=()
    if [ -n "$created_with" ] && [ "$created_with" != "$nodes" ]; then
        fail "the servers in $directory were created with --nodes $created_with, and their data cannot be used with another number:" \
            "deploy/local down --wipe --dir $directory, or choose another --dir."
    fi
    while read -r name; do
        if ! pid=$(pid_of "$name"); then
            missing+=("$name")
        elif [ "$(state_of_pid "$pid")" = T ]; then
            fail "$name is frozen: wake it by deploy/local thaw $name --dir $directory."
        else
            running+=("$name")
        fi
    done < <(node_names)
    find_tools
    [ ${#missing[@]} -eq 0 ] || start_nodes "${missing[@]}"
    [ ${#running[@]} -eq 0 ] || await_nodes "${running[@]}"
    [ ${#missing[@]} -gt 0 ] || say "already up in $directory"
    write_addresses
    print_addresses
}

# All or nothing: if one cannot be started, those that were started are stopped again.
start_nodes() { # NODE...
    local name begin
    check_memory "$@"
    check_ports "$@"
    fetch_jars
    [ "$oldest" = no ] || ! has_kind cassandra || find_java_11
    save_settings
    [ "$secure" = no ] || make_secrets
    started=("$@")
    trap 'stop_started' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    say "starting $* …"
    begin=$SECONDS
    for name in "$@"; do launch_node "$name"; done
    await_nodes "$@"
    if [ "$secure" = yes ] && [[ " $* " == *" cassandra-1 "* ]]; then make_roles; fi
    trap - EXIT INT TERM
    if [ -n "$unserved" ]; then
        say "$unserved runs, and serves as soon as another ZooKeeper server does: deploy/local start, or up for all"
    else
        say "all have served a client after $((SECONDS - begin)) s"
    fi
}

stop_started() {
    say "stopping the servers that were started …"
    stop_nodes "${started[@]}"
}

command_down() {
    local name names=()
    [ -d "$directory" ] || return 0
    mapfile -t names < <(node_names)
    stop_nodes "${names[@]}"
    rm -f "$directory/servers.env" "$directory/servers.json"
    if [ "$wipe" = yes ]; then
        for name in "${names[@]}"; do rm -rf "${directory:?}/$name"; done
        rm -rf "$directory/settings.env" "${directory:?}/secure"
    fi
    say "down: $directory"
}

command_status() {
    local name pid state code=0
    while read -r name; do
        if pid=$(pid_of "$name"); then
            state=running
            [ "$(state_of_pid "$pid")" != T ] || state=frozen
        else
            pid=- state=stopped
        fi
        [ "$state" = running ] || code=1
        printf '%-12s %-8s pid %-8s %s:%s\n' "$name" "$state" "$pid" "$(address_of "$name")" "$(port_of "$name")"
    done < <(node_names)
    return "$code"
}

command_logs() {
    local name names=()
    if [ -n "$node" ]; then
        require_node
        names=("$node")
    else
        mapfile -t names < <(node_names)
    fi
    for name in "${names[@]}"; do
        [ -f "$directory/$name/log" ] || continue
        echo "==> $directory/$name/log"
        tail -n 40 "$directory/$name/log"
    done
}

require_node() {
    [ -n "$node" ] || fail "which node? One of: $(node_names | paste -sd' ')."
    node_names | grep -xF -- "$node" >/dev/null || fail "there is no node '$node' here; one of: $(node_names | paste -sd' ')."
}

# Sets $pid.
require_running() {
    require_node
    pid=$(pid_of "$node") || fail "$node is not running: deploy/local start $node --dir $directory starts it."
}

command_pid() { require_running && echo "$pid"; }

# Returns when every thread has stopped.
command_freeze() {
    local tenths=50
    require_running
    kill -STOP "$pid"
    while grep -hs '^State:' "/proc/$pid/task/"*/status | grep -v 'T (stopped)' >/dev/null; do
        [ $((tenths--)) -gt 0 ] || fail "$node (pid $pid) does not stop: see ps -L -p $pid -o stat,wchan."
        sleep 0.1
    done
}

command_thaw() { require_running && kill -CONT "$pid"; }

command_kill() {
    require_running
    kill -KILL "$pid"
    await_exit "$pid" 10 || fail "$node (pid $pid) does not exit."
    rm -f "$directory/$node/pid"
    write_addresses
}

command_start() {
    require_node
    [ -n "$created_with" ] || fail "no servers were ever started in $directory: deploy/local up --dir $directory."
    if pid_of "$node" >/dev/null; then
        say "$node is already running"
        return 0
    fi
    find_tools
    start_nodes "$node"
    write_addresses
}

connect_list() { # KIND
    has_kind "$1" || return 0
    node_names | grep "^$1" | while read -r name; do echo "$(address_of "$name"):$(port_of "$name")"; done | paste -sd,
}

print_addresses() {
    if has_kind zookeeper; then echo "ZooKeeper  $(connect_list zookeeper)"; fi
    if has_kind kafka; then echo "Kafka      $(connect_list kafka)"; fi
    if has_kind cassandra; then echo "Cassandra  $(connect_list cassandra)"; fi
    [ "$secure" = no ] || echo "Secrets    $directory/secure (client.toml: the sections of a configuration)"
}

# For programs: addresses and pids, as shell variables and as JSON.
write_addresses() {
    local name entries=()
    {
        echo "ZOOKEEPER=$(connect_list zookeeper)"
        echo "KAFKA=$(connect_list kafka)"
        echo "CASSANDRA=$(connect_list cassandra)"
        echo "NODES=$nodes"
        [ "$secure" = no ] || echo "SECURE=$directory/secure"
        while read -r name; do
            echo "PID_$(tr '[:lower:]-' '[:upper:]_' <<<"$name")=$(pid_of "$name" || true)"
        done < <(node_names)
    } >"$directory/servers.env.new"
    while read -r name; do
        entries+=("$(printf '{"name":"%s","kind":"%s","address":"%s:%s","pid":%s,"log":"%s"}' "$name" \
            "$(kind_of "$name")" "$(address_of "$name")" "$(port_of "$name")" "$(pid_of "$name" || echo null)" \
            "$directory/$name/log")")
    done < <(node_names)
    printf '{"nodes":%s,"zookeeper":"%s","kafka":"%s","cassandra":["%s"],"servers":[%s]}\n' "$nodes" \
        "$(connect_list zookeeper)" "$(connect_list kafka)" "$(connect_list cassandra | sed 's/,/","/g')" \
        "$(IFS=,; echo "${entries[*]}")" >"$directory/servers.json.new"
    mv "$directory/servers.env.new" "$directory/servers.env"
    mv "$directory/servers.json.new" "$directory/servers.json"
}
