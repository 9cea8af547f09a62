# shellcheck shell=bash
# Starts stitch-torture with the servers, and with the means for faults that not every machine has.

# Results and logs of all histories, of deploy/torture and of deploy/test.
torture_folder=$repository/target/torture
small_disk=$torture_folder/small-disk
clock=$torture_folder/clock.so
torture_pid=''

# Plays histories on a set of servers; in the background, because bash handles signals at once only while it waits.
torture() { # SERVERS ARGUMENT...
    local servers=$1 means=() build code=0
    shift
    mount_small_disk && means+=(--small-disk "$small_disk")
    build_clock && means+=(--clock "$clock")
    build=$(git -C "$repository" describe --always --dirty 2>/dev/null) || build=unknown
    "$repository/target/debug/stitch-torture" --servers "$servers" --folder "$torture_folder" --build "$build" \
        "${means[@]}" "$@" &
    torture_pid=$!
    wait "$torture_pid" || code=$?
    torture_pid=''
    unmount_small_disk
    return "$code"
}

# A disk that is soon full. Only root can mount one; otherwise that fault is left out.
mount_small_disk() {
    mkdir -p "$small_disk"
    if mountpoint -q "$small_disk"; then return 0; fi
    mount -t tmpfs -o size=64k,mode=700 stitch-small-disk "$small_disk" 2>/dev/null
}

# Needs Linux and glibc; otherwise that fault is left out. Fails unless the library does step a clock.
build_clock() {
    local stepped=$torture_folder/tomorrow
    mkdir -p "$torture_folder"
    gcc -std=c11 -Wall -Wextra -Werror -O2 -shared -fPIC -o "$clock" "$library/clock.c" -ldl || return 1
    "$python" -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("=q", 86400))' >"$stepped"
    [ $(($(STEPPED_CLOCK=$stepped LD_PRELOAD=$clock date +%s) - $(date +%s))) -gt 86000 ]
}

# Stops the histories first, if they still run: they may have a file open there.
unmount_small_disk() {
    if [ -n "$torture_pid" ]; then
        kill -TERM "$torture_pid" 2>/dev/null || true
        wait "$torture_pid" || true
        torture_pid=''
    fi
    if mountpoint -q "$small_disk"; then umount "$small_disk" || say "$small_disk cannot be unmounted: it is in use."; fi
}
