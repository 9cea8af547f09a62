# shellcheck shell=bash
# Processes of servers. A pid file is not enough: the process must have our property on its command line.

# A Java property that names folder and node, and so is unique on the machine.
property_of() { echo "-Dstitch.node=$directory/$1"; }

# Prints the pid of a node that runs or is frozen; fails otherwise.
pid_of() {
    local file=$directory/$1/pid pid state
    [ -f "$file" ] || return 1
    pid=$(cat "$file" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -xF -- "$(property_of "$1")" >/dev/null || return 1
    state=$(state_of_pid "$pid") || return 1
    [ "$state" != Z ] || return 1
    echo "$pid"
}

any_runs() {
    local name
    while read -r name; do
        if pid_of "$name" >/dev/null; then return 0; fi
    done < <(node_names)
    return 1
}

state_of_pid() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null; }

# Starts a server detached from this terminal and without our locks (descriptors 7 and 9), with its output in its log.
spawn() { # NODE COMMAND...
    local name=$1 folder=$directory/$1
    shift
    [ ! -s "$folder/log" ] || mv "$folder/log" "$folder/log.before"
    (
        cd "$folder"
        exec setsid nohup "$@" </dev/null >>"$folder/log" 2>&1 7>&- 9>&-
    ) &
    echo $! >"$folder/pid"
    # Until exec the process is still this shell, which pid_of does not recognize as the server.
    while ! pid_of "$name" >/dev/null && ! has_exited $!; do sleep 0.02; done
}

# A zombie has exited once its other threads are gone, too: only then are its ports free.
has_exited() { # PID
    local tasks=("/proc/$1/task/"*)
    [ ! -d "/proc/$1" ] || { [ "$(state_of_pid "$1")" = Z ] && [ ${#tasks[@]} -le 1 ]; }
}

# Waits until a process is gone; fails after SECONDS.
await_exit() { # PID SECONDS
    local tenths=$(($2 * 10))
    while ! has_exited "$1"; do
        [ $((tenths--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

# Stops several nodes at once. A frozen one is resumed; one that does not exit within 20 s is killed.
stop_nodes() { # NODE...
    local name pid
    local -A pids=()
    for name in "$@"; do
        if pid=$(pid_of "$name"); then
            pids[$name]=$pid
            kill -TERM "$pid" 2>/dev/null || true
            kill -CONT "$pid" 2>/dev/null || true
        fi
    done
    for name in "${!pids[@]}"; do
        pid=${pids[$name]}
        if ! await_exit "$pid" 20; then
            say "$name did not exit within 20 s of SIGTERM; killing it."
            kill -KILL "$pid" 2>/dev/null || true
            await_exit "$pid" 10 || fail "$name (pid $pid) survives SIGKILL; see: ps -p $pid -o stat,wchan"
        fi
    done
    for name in "$@"; do rm -f "$directory/$name/pid"; done
}
