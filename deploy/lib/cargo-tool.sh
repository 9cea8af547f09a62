# shellcheck shell=bash
# Tools from crates.io, each in a folder of its own below target/tools, built once.

# Sets $cargo_tool to the program of a version of a crate.
find_cargo_tool() { # CRATE VERSION
    local folder=$repository/target/tools/$1-$2
    cargo_tool=$folder/bin/$1
    [ ! -x "$cargo_tool" ] || return 0
    say "building $1 $2 …"
    mkdir -p "$folder"
    # Not as part of the workspace, nor with its flags; and not optimized: that would take longer than all that it ever runs.
    (cd "$folder" && env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --locked --debug --quiet --root "$folder" --version "$2" "$1") 2>&1 |
        without_hosts >"$folder/install.log" || fail "cargo could not install $1 $2: $folder/install.log says why."
}
