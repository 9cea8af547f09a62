# shellcheck shell=bash
# A file system of its own for the commit log of one Cassandra node, which a test freezes (fsfreeze): the node then answers
# reads and gossip, and takes no write. Only root can mount one.

commit_log_node=cassandra-2

commit_log_of() { # SERVERS
    echo "$1/$commit_log_node/commit-log"
}

# Before the servers start: deploy/lib/cassandra.sh uses the folder if it exists.
mount_commit_log() { # SERVERS
    local folder image
    folder=$(commit_log_of "$1")
    image=$folder.ext4
    if mountpoint -q "$folder"; then return 0; fi
    mkdir -p "$folder"
    if truncate -s 1G "$image" && mkfs.ext4 -q -F -m 0 "$image" && mount -o loop "$image" "$folder"; then return 0; fi
    rmdir "$folder"
    rm -f "$image"
    say "NOT TESTED: a commit log that stalls. Its file system cannot be mounted here (root, a loop device and mkfs.ext4 are" \
        "needed), so tests/cluster leaves that out."
}

# After the servers have stopped. A frozen file system keeps processes from ending, so it is thawed first.
thaw_commit_log() { # SERVERS
    fsfreeze --unfreeze "$(commit_log_of "$1")" 2>/dev/null || true
}

unmount_commit_log() { # SERVERS
    local folder
    folder=$(commit_log_of "$1")
    if mountpoint -q "$folder"; then umount "$folder" || say "$folder cannot be unmounted: it is in use."; fi
}
