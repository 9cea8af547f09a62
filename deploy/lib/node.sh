# shellcheck shell=bash
# What all kinds of nodes share: configure, launch, await that a client is served.

# Fills @NAMES@ of a template in deploy/servers.
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
    spawn "$name" "$java" "$@" "$(mark_of "$name")" -cp "$(jars_of "$(kind_of "$name")")/*" "$main" "${arguments[@]}"
}

launch_node() { # NODE
    local name=$1 kind
    kind=$(kind_of "$name")
    mkdir -p "$directory/$name/data"
    "configure_$kind" "$name"
    "launch_$kind" "$name"
}

# Ready means that a client was served, or, of one ZooKeeper server that is started while the others are down, that it
# waits for them: whoever starts them one after the other would else wait for ever. Sets $unserved to those.
await_nodes() { # NODE...
    local name code=0 seconds=180
    for name in "$@"; do probe_of "$name"; done >"$directory/.probes"
    # In the background, because a shell that waits hears a signal at once, and one that runs a program does not.
    "$python" "$library/served.py" "$seconds" <"$directory/.probes" >"$directory/.late" 9>&- &
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
        "machine busy or short of memory? Try again, or look there."
}

# What served.py has to know of a node. Among three, more is asked of it: a leader, unless it is started alone, a view of
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
