# shellcheck shell=bash
# Steps for all kinds of nodes: configure, launch, wait until a client is served.

# Replaces @NAMES@ in a template of deploy/servers.
render() { # TEMPLATE FILE NAME=VALUE...
    local text file=$2 pair
    text=$(cat "$repository/deploy/servers/$1")
    shift 2
    for pair in "$@"; do text=${text//@${pair%%=*}@/${pair#*=}}; done
    printf '%s\n' "$text" >"$file"
}

spawn_java() { # NODE MAIN [ARGUMENT...] -- OPTION...
    local name=$1 main=$2 arguments=()
    shift 2
    while [ "$1" != -- ]; do arguments+=("$1") && shift; done
    shift
    spawn "$name" "$java" "$@" "$(property_of "$name")" -cp "$(jars_of "$(kind_of "$name")")/*" "$main" "${arguments[@]}"
}

launch_node() { # NODE
    local name=$1 kind
    kind=$(kind_of "$name")
    mkdir -p "$directory/$name/data"
    "configure_$kind" "$name"
    "launch_$kind" "$name"
}

# Waits until each node has served a client. A ZooKeeper server that is started while the others are down need only wait
# for them: otherwise it would be impossible to start them one after the other. Sets $unserved to such servers.
await_nodes() { # NODE...
    local name code=0 seconds=180
    for name in "$@"; do probe_of "$name"; done >"$directory/.probes"
    # In the background, because bash handles signals at once only while it waits.
    STITCH_SECURE=$([ "$secure" = no ] || echo "$directory/secure") "$python" "$library/served.py" "$seconds" <"$directory/.probes" >"$directory/.late" 9>&- &
    wait $! || code=$?
    unserved=$(cat "$directory/.late")
    [ "$code" != 0 ] || return 0
    name=$unserved
    say "--- the end of $directory/$name/log:"
    tail -n 15 "$directory/$name/log" >&2 || true
    say "---"
    if [ "$code" = 3 ]; then
        fail "$name died at its start: the lines above are the end of $directory/$name/log, which says more."
    fi
    fail "$name served no client within $seconds s: the lines above are the end of $directory/$name/log. Is the" \
        "machine busy or short of memory? Try again, or read the log."
}

# The input of served.py for a node. Of three nodes more is required: a leader, unless it is started alone, and a view of
# the whole ring.
probe_of() { # NODE
    local name=$1 kind
    kind=$(kind_of "$name")
    if [ "$nodes" -gt 1 ] && [ "$kind" = zookeeper ]; then
        kind=ensemble
        [ "$command" != start ] || kind=member
    fi
    if [ "$nodes" -gt 1 ] && [ "$kind" = cassandra ] && ring_is_whole; then kind=ring; fi
    echo "$name $kind $(address_of "$name") $(port_of "$name") $(cat "$directory/$name/pid")"
}
