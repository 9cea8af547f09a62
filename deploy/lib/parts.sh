# shellcheck shell=bash
# Runs the parts of deploy/test, times them, counts their tests, and stops the processes that they leave.

started=$SECONDS
times=() extra_passed=0 extra_failed=0
# The running parts: the process group of each. And those that run concurrently with others.
declare -A running=()
concurrent=()

# Runs part_NAME; shows the end of its log if it fails.
run_part() { # NAME
    start_part "$1"
    end_part "$1"
}

# Runs a part concurrently with the parts that follow.
run_concurrently() { # NAME
    start_part "$1"
    concurrent+=("$1")
}

end_concurrent() {
    local name
    for name in "${concurrent[@]}"; do end_part "$name"; done
    concurrent=()
}

start_part() { # NAME
    local begin
    printf '%-12s …\n' "$1"
    # In its own process group, so that no process of it is left.
    set -m
    {
        begin=$SECONDS
        # Written when the part is over, failed or not.
        # shellcheck disable=SC2064 # the name is this one's
        trap "echo \$((SECONDS - begin)) >'$directory/$1.seconds'" EXIT
        "part_$1"
    } >"$directory/$1.log" 2>&1 5>&- &
    running[$1]=$!
    set +m
}

end_part() { # NAME
    local code=0 seconds log=$directory/$1.log
    wait "${running[$1]}" || code=$?
    end_group "$1"
    seconds=$(cat "$directory/$1.seconds" 2>/dev/null)
    times+=("$(printf '%-12s %4d s of %4d  %s' "$1" "${seconds:=0}" "${budgets[$1]}" "$(verdict "$code" "$seconds" "$1")")")
    printf '%s\n' "${times[-1]}"
    count_part "$log" "$code"
    [ "$code" = 0 ] || failure_of "$log"
    return "$code"
}

verdict() { # CODE SECONDS NAME
    if [ "$1" != 0 ]; then
        echo FAILED
    elif [ "$2" -gt "${budgets[$3]}" ]; then
        echo "ok, but longer than its budget"
    else
        echo ok
    fi
}

# SIGTERM first: a script among them may have servers to stop.
end_group() { # NAME
    local group=${running[$1]:-} tenths=200
    [ -n "$group" ] || return 0
    kill -TERM -- "-$group" 2>/dev/null
    while kill -0 -- "-$group" 2>/dev/null && [ $((tenths--)) -gt 0 ]; do sleep 0.1; done
    kill -KILL -- "-$group" 2>/dev/null
    unset "running[$1]"
}

# A part without counted tests counts as one test; so does one that failed although none of its tests did.
count_part() { # LOG CODE
    local tests failed
    tests=$(count_tests "$1" passed)
    failed=$(count_tests "$1" failed)
    if [ "$2" != 0 ] && [ "$failed" = 0 ]; then extra_failed=$((extra_failed + 1)); fi
    if [ "$2" = 0 ] && [ "$((tests + failed))" = 0 ]; then extra_passed=$((extra_passed + 1)); fi
}

# Sums up cargo's result lines, and the last lines of scripts that count their own tests.
count_tests() { # LOG passed|failed
    grep -E '^test result: |^[0-9]+ passed, [0-9]+ failed$' "$1" | grep -oE "[0-9]+ $2" |
        awk '{ sum += $1 } END { print sum + 0 }'
}

failure_of() { # LOG
    echo "---- $1"
    if grep -qE '^failures:$' "$1"; then
        sed -n '/^failures:$/,$p' "$1" | grep -vE '\.\.\. ok$|^ +[0-9]+: |^ +at |^note: Some details|^stack backtrace' | tail -n 150
    else
        tail -n 60 "$1"
    fi
    echo "----"
}

# Runs a command with the addresses of a set of servers in its environment; the servers keep running for later parts.
with_servers() { # DIRECTORY NODES COMMAND...
    servers_up "$1" "$2" || return
    on_servers "$1" "${@:3}"
}

# Runs a command with the addresses of servers that run.
on_servers() { # DIRECTORY COMMAND...
    local servers=$1
    shift
    # shellcheck disable=SC1091
    source "$servers/servers.env"
    STITCH_TEST_ZOOKEEPER=$ZOOKEEPER STITCH_TEST_KAFKA=$KAFKA STITCH_TEST_CASSANDRA=$CASSANDRA \
        STITCH_TEST_SERVERS=$servers "$@"
}

servers_down() { # DIRECTORY
    thaw_commit_log "$1"
    if [ -f "$1/settings.env" ]; then "$repository/deploy/local" down --dir "$1" >/dev/null 2>&1; fi
    unmount_commit_log "$1"
    if [ -f "$1/settings.env" ]; then "$repository/deploy/local" down --wipe --dir "$1" >/dev/null 2>&1; fi
}

clean_up() {
    local name
    for name in "${!running[@]}"; do end_group "$name"; done
    servers_down "$one"
    servers_down "$second"
    servers_down "$three"
    servers_down "$secured"
    servers_down "$oldest"
}

summary() {
    local part passed=$extra_passed failed=$extra_failed log
    echo
    # Faults of the torture, and how often each was injected.
    if [ -f "$directory/torture.log" ]; then sed -n '/ histories; faults:$/,/^verified restorations checked /p' "$directory/torture.log" && echo; fi
    for part in "${times[@]}"; do echo "$part"; done
    grep -hE 'NOT TESTED' "$directory"/*.log
    printf '%-12s %4d s\n\n' "all" $((SECONDS - started))
    for log in "$directory"/*.log; do
        grep -hE '^ +(Running|Doc-tests) |^test result: ' "$log"
        passed=$((passed + $(count_tests "$log" passed)))
        failed=$((failed + $(count_tests "$log" failed)))
    done
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
