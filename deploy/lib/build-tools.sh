# shellcheck shell=bash
# What demo and tests take beside the servers: Rust, the C and C++ compilers with which librdkafka is built, Python.

# Installs what is missing where that may be done without asking (tools.sh); Rust itself has an installer of its own.
find_build_tools() {
    local tool missing=()
    # Where rustup puts it, for shells that do not have that on their path yet.
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
    command -v cargo >/dev/null || fail "cargo is missing: install Rust as https://rustup.rs says, then try again."
    for tool in gcc g++ make git; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    find_python || missing+=(python3)
    [ ${#missing[@]} -gt 0 ] || return 0
    may_install || fail "${missing[*]} missing: install with  sudo apt-get install ${missing[*]}  (elsewhere: the packages of the same tools)."
    mkdir -p "$directory"
    install_packages libc6-dev "${missing[@]}"
    find_python || fail "no python3 even after installing it: see to it that it is on the path."
}

# The folder of a set of servers on ports that nobody else uses; a set that runs there already is taken as it is.
servers_up() { # DIRECTORY NODES
    "$repository/deploy/local" up --nodes "$2" --dir "$1" --ports free
}
