# shellcheck shell=bash
# Assertions: each prints what it checked, and continues after a failure.

passed=0 failed=0

pass() { passed=$((passed + 1)) && echo "ok    $1"; }
miss() { # WHAT WHY
    failed=$((failed + 1))
    echo "FAIL  $1"
    sed 's/^/      /' <<<"$2"
}

# Runs a command; sets $output to its output on both streams, and $code to its exit code.
attempt() {
    code=0
    output=$("$@" 2>&1) || code=$?
}

expect_code() { # WHAT CODE
    if [ "$code" = "$2" ]; then pass "$1"; else miss "$1" "exited with $code instead of $2: $output"; fi
}

expect_output() { # WHAT PATTERN
    if grep -qE -- "$2" <<<"$output"; then pass "$1"; else miss "$1" "'$2' is not in: $output"; fi
}

expect_not_output() { # WHAT PATTERN
    if grep -qE -- "$2" <<<"$output"; then miss "$1" "'$2' is in: $output"; else pass "$1"; fi
}

expect_true() { # WHAT COMMAND...
    local what=$1
    shift
    attempt "$@"
    if [ "$code" = 0 ]; then pass "$what"; else miss "$what" "$* exited with $code: $output"; fi
}

expect_same() { # WHAT ONE OTHER
    if [ "$2" = "$3" ]; then pass "$1"; else miss "$1" "'$2' is not '$3'"; fi
}

summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
