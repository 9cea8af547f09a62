# shellcheck shell=bash
# What stitch-torture is started with: the servers, and the means for faults that not every machine has.

# Results and logs of all histories are kept here, whoever started them.
torture_folder=$repository/target/torture
small_disk=$torture_folder/small-disk
calendar=$torture_folder/calendar.so
torturing=''

# Plays histories on a set of servers; in the background, because a shell that waits hears a signal at once.
torture() { # SERVERS ARGUMENT...
    local servers=$1 means=() build code=0
    shift
    mount_small_disk && means+=(--small-disk "$small_disk")
    build_calendar && means+=(--calendar "$calendar")
    build=$(git -C "$repository" describe --always --dirty 2>/dev/null) || build=unknown
    "$repository/target/debug/stitch-torture" --servers "$servers" --folder "$torture_folder" --build "$build" \
        "${means[@]}" "$@" &
    torturing=$!
    wait "$torturing" || code=$?
    torturing=''
    unmount_small_disk
    return "$code"
}

# A disk that is full after a few lines. Only root can mount one; without it that fault is left out.
mount_small_disk() {
    mkdir -p "$small_disk"
    if mountpoint -q "$small_disk"; then return 0; fi
    mount -t tmpfs -o size=64k,mode=700 stitch-small-disk "$small_disk" 2>/dev/null
}

# Other C libraries than glibc, and other systems than Linux, do without this fault. What does not step is not used.
build_calendar() {
    local stepped=$torture_folder/tomorrow
    mkdir -p "$torture_folder"
    gcc -std=c11 -Wall -Wextra -Werror -O2 -shared -fPIC -o "$calendar" "$library/calendar.c" -ldl || return 1
    "$python" -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("=q", 86400))' >"$stepped"
    [ $(($(STEPPED_CALENDAR=$stepped LD_PRELOAD=$calendar date +%s) - $(date +%s))) -gt 86000 ]
}

# Ends the histories first, if they still run: they may have a file there.
unmount_small_disk() {
    if [ -n "$torturing" ]; then
        kill -TERM "$torturing" 2>/dev/null || true
        wait "$torturing" || true
        torturing=''
    fi
    if mountpoint -q "$small_disk"; then umount "$small_disk" || say "$small_disk cannot be unmounted: something uses it."; fi
}
