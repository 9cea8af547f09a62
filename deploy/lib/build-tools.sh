# shellcheck shell=bash
# The tools to build Stitch: Rust, the C and C++ compilers for librdkafka, OpenSSL, Python.

# Installs what is missing where that is allowed (tools.sh), except Rust, which has its own installer.
find_build_tools() {
    local tool missing=()
    # The folder of rustup, for shells that do not have it on their path yet.
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
    command -v cargo >/dev/null || fail "cargo is missing: install Rust as https://rustup.rs says, then try again."
    for tool in gcc g++ make git pkg-config; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    # librdkafka's TLS.
    pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
    find_python || missing+=(python3)
    [ ${#missing[@]} -gt 0 ] || return 0
    may_install || fail "${missing[*]} missing: install with  sudo apt-get install ${missing[*]}  (elsewhere: the packages of the same tools)."
    mkdir -p "$directory"
    install_packages libc6-dev "${missing[@]}"
    find_python || fail "python3 is installed, but not on the path: put it there."
}

# Starts a set of servers on free ports; servers that run there already are kept.
servers_up() { # DIRECTORY NODES [OPTION...]
    "$repository/deploy/local" up --nodes "$2" --dir "$1" --ports free "${@:3}"
}
