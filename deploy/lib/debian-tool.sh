# shellcheck shell=bash
# Tools from Debian's packages that are used without being installed: packages like prometheus and docker.io would start
# services of their own.

# Adds packages to the path of this script, unpacked below target/tools.
unpack_packages() { # NAME PACKAGE...
    local name=$1 folder=$repository/target/tools/debian/$1
    shift
    [ -f "$folder/complete" ] || unpack_into "$folder" "$name" "$@"
    PATH=$folder/root/usr/bin:$folder/root/usr/sbin:$folder/root/sbin:$PATH
}

# The folder is complete once all of it is unpacked; otherwise it is created again.
unpack_into() { # FOLDER NAME PACKAGE...
    local folder=$1 name=$2 package
    shift 2
    if [ "${STITCH_INSTALL:-yes}" != yes ] || ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        fail "$name is missing: install it  (on Debian and Ubuntu the packages $*, which this script may also fetch by itself)."
    fi
    rm -rf "$folder"
    mkdir -p "$folder/packages"
    say "fetching $* …"
    if ! fetch_packages "$folder" "$@"; then
        # The lists may be missing or old; only root may renew them.
        [ "$(id -u)" != 0 ] || apt_get update 2>&1 | without_hosts >>"$folder/fetch.log" || true
        fetch_packages "$folder" "$@" ||
            fail "apt-get could not fetch $*: $folder/fetch.log says why (as another user than root: sudo apt-get update first)."
    fi
    for package in "$folder"/packages/*.deb; do dpkg -x "$package" "$folder/root"; done
    rm -r "$folder/packages"
    touch "$folder/complete"
}

fetch_packages() { # FOLDER PACKAGE...
    local folder=$1
    shift
    (cd "$folder/packages" && apt_get download "$@") 2>&1 | without_hosts >>"$folder/fetch.log"
}
