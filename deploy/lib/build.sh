# shellcheck shell=bash
# Builds with cargo in the background, and reports how far the build is.

build_pid='' build_log=''

# Without a terminal cargo draws no progress bar: it is made to draw one into the log, where report_build finds it.
start_build() { # LOG ARGUMENT...
    build_log=$1
    shift
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 CARGO_TERM_COLOR=never \
        cargo build --locked "$@" >"$build_log" 2>&1 &
    build_pid=$!
}

build_runs() { [ -n "$build_pid" ] && kill -0 "$build_pid" 2>/dev/null; }

# Fails with the compiler's messages if the build has failed.
end_build() {
    local code=0
    wait "$build_pid" || code=$?
    build_pid=''
    [ "$code" = 0 ] && return
    build_lines | tail -n 60 >&2
    fail "the build failed: the lines above say why, $build_log says more."
}

# `45 of 312 crates compiled`; before cargo knows how many there are, its last line.
report_build() {
    local bar
    bar=$(tail -c 4000 "$build_log" | grep -aoE '\] [0-9]+/[0-9]+: ' | tail -n 1) || bar=''
    if [ -n "$bar" ]; then
        bar=${bar#] }
        echo "${bar%%/*} of $(tr -dc 0-9 <<<"${bar#*/}") crates compiled"
    else
        build_lines | tail -n 1
    fi
}

# The log without the bar, which cargo redraws after each carriage return.
build_lines() { tr '\r' '\n' <"$build_log" | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | grep -avE '^ *Building \[|^ *$' || true; }
