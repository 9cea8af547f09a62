# shellcheck shell=bash
# Messages to the user, on standard error: standard output is for results.
#
# In all these files a pipe ends in `grep >/dev/null`, not in `grep -q`, which exits early: under pipefail the command
# before it then sometimes fails.

say() { printf '%s\n' "$*" >&2; }

# Reports an error: what is wrong, and what to do. 2 is the exit code of a command that could not do its work.
fail() {
    say "$0: $*"
    exit 2
}
