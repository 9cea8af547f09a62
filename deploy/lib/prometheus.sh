# shellcheck shell=bash
# A Prometheus of one's own, in $directory: configuration, samples and log.

# What its pages load; Debian has it in packages of their own.
prometheus_packages=(prometheus libjs-jquery libjs-bootstrap4 libjs-eonasdan-bootstrap-datetimepicker libjs-jquery-hotkeys
    libjs-moment libjs-moment-timezone libjs-mustache libjs-popper.js libjs-rickshaw libjs-d3 fonts-glyphicons-halflings)

# Sets $prometheus and $prometheus_assets. One that is installed is used only where Debian's pages are: others have their own.
find_prometheus() {
    prometheus_assets=/usr/share/prometheus/web
    if ! command -v prometheus >/dev/null || [ ! -d "$prometheus_assets" ]; then
        unpack_packages prometheus "${prometheus_packages[@]}"
        prometheus_assets=$repository/target/tools/debian/prometheus/root/usr/share/prometheus/web
    fi
    prometheus=$(command -v prometheus)
}

# Writes the configuration, and starts it. Sets $prometheus_url. Fails unless it serves within half a minute.
start_prometheus() { # { JOB "ADDRESS..." }...
    local port pid tenths=300
    port=$("$python" "$library/free_ports.py" 1) || fail "there is no free port."
    # shellcheck disable=SC2034  # for the caller
    prometheus_url=http://127.0.0.1:$port
    configure_prometheus "$@" >"$directory/prometheus.yaml"
    # The background truncates it later than it is read for the first time.
    rm -f "$directory/prometheus.log"
    setsid nohup "$prometheus" --config.file="$directory/prometheus.yaml" --storage.tsdb.path="$directory/samples" \
        --web.listen-address="127.0.0.1:$port" --web.local-assets="$prometheus_assets" \
        </dev/null >"$directory/prometheus.log" 2>&1 &
    pid=$!
    echo "$pid" >"$directory/prometheus.pid"
    while ! grep -s 'Server is ready' "$directory/prometheus.log" >/dev/null; do
        # Until exec its command line is still this script's.
        kill -0 "$pid" 2>/dev/null && [ $((tenths--)) -gt 0 ] ||
            fail "Prometheus does not serve: $directory/prometheus.log says why."
        sleep 0.1
    done
}

configure_prometheus() { # { JOB "ADDRESS..." }...
    local addresses
    printf 'global: {scrape_interval: 5s, evaluation_interval: 5s}\nrule_files: ["%s"]\nscrape_configs:\n' \
        "$repository/deploy/alerts/stitch.yaml"
    while [ $# -gt 0 ]; do
        read -ra addresses <<<"$2"
        [ ${#addresses[@]} -gt 0 ] || fail "no program of the job $1 runs."
        printf '  - job_name: %s\n    static_configs: [{targets: [' "$1"
        printf '"%s", ' "${addresses[@]}"
        printf ']}]\n'
        shift 2
    done
}

# Prints its pid; fails unless it runs. The pid may have been reused: its command line names our folder.
prometheus_pid() {
    local pid
    pid=$(cat "$directory/prometheus.pid" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -F -- "$directory/prometheus.yaml" >/dev/null || return 1
    echo "$pid"
}

stop_prometheus() {
    local pid tenths=200
    pid=$(prometheus_pid) || return 0
    kill "$pid"
    while prometheus_pid >/dev/null; do
        [ $((tenths--)) -gt 0 ] || fail "Prometheus does not stop: kill -9 $pid"
        sleep 0.1
    done
    rm -f "$directory/prometheus.pid"
}
