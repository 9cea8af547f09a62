# shellcheck shell=bash
# What programs need of the system that runs them.

# The newest version of glibc whose symbols these programs use, as 2.34.
newest_glibc() { # PROGRAM...
    objdump -T "$@" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -n 1 | cut -d_ -f2
}
