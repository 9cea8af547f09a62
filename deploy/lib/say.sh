# shellcheck shell=bash
# In all these files a pipe ends in `grep >/dev/null`, not in `grep -q`: that one leaves early, and under pipefail what
# it was reading from then fails now and then.
#
# What is said to the person at the terminal. Progress goes to standard error: standard output is for answers.

say() { printf '%s\n' "$*" >&2; }

# Every error is a sentence that names the thing and the way out; 2 is the code of "could not do it".
fail() {
    say "$0: $*"
    exit 2
}
