# shellcheck shell=bash
# Java 17, Maven and Python: found, or installed where that may be done without asking.

# Sets $java to a Java 17: the one version on which both Cassandra 5.0 and Kafka 4 run.
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

# The distribution's python rather than a version manager's slow stand-in.
find_python() {
    for python in /usr/bin/python3 "$(command -v python3 || true)"; do
        if [ -x "$python" ]; then return 0; fi
    done
    return 1
}

# Sees to it that $java and $python are there, and mvn if jars have to be fetched.
find_tools() {
    local missing=()
    find_java || missing+=(openjdk-17-jdk-headless)
    find_python || missing+=(python3)
    have_jars || command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -gt 0 ] || return 0
    may_install || fail "${missing[*]} missing: install with  sudo apt-get install ${missing[*]}  (elsewhere: the" \
        "packages of a Java 17, Python 3 and Maven), or name a Java 17 by STITCH_JAVA_HOME."
    install_packages "${missing[@]}"
    find_java || fail "no Java 17 even after installing ${missing[*]}: name one by STITCH_JAVA_HOME."
    find_python || fail "no python3 even after installing it: see to it that it is on the path."
}

may_install() {
    [ "${STITCH_INSTALL:-yes}" = yes ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
        grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

install_packages() {
    local log=$directory/install.log
    mkdir -p "$directory" "$repository/target"
    # One at a time: apt-get itself does not wait for another that reads its lists.
    exec 6>>"$repository/target/.install.lock"
    flock -w 900 6 || fail "somebody has been installing packages for 15 minutes: end that, then try again."
    say "installing $* …"
    if ! { apt_get update && apt_get install --no-install-recommends "$@"; } 2>&1 6>&- | without_hosts >"$log"; then
        tail -n 5 "$log" >&2
        fail "apt-get could not install $*: the lines above say why, $log says more. Install them by hand, then try again."
    fi
    exec 6>&-
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@"; }

# Messages of package tools name the mirrors they use, which are nobody else's business: neither shown nor kept.
without_hosts() {
    sed -E -e 's#[a-z]+://[^[:space:]"<>)]*#(a registry)#g' \
        -e "s#([Cc]onnect(ion)? to|[Uu]nknown host|[Hh]ost:?|resolve) '?[A-Za-z0-9.:-]*[A-Za-z0-9]'?#\\1 (a registry)#g"
}
