# shellcheck shell=bash
# The tools for the tests of the pages: Chromium, Node, and two npm packages in a folder of their own.
# shellcheck source=deploy/versions.env
source "$repository/deploy/versions.env"

# Sets $STITCH_CHROMIUM and $STITCH_BROWSER_TOOLS; installs what is missing where that is allowed.
find_browser() {
    local missing=()
    STITCH_CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
    [ -n "$STITCH_CHROMIUM" ] || missing+=(chromium)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    if [ ${#missing[@]} -gt 0 ]; then
        may_install || fail "${missing[*]} missing: install with  sudo apt-get install ${missing[*]}  (elsewhere: the packages of the same tools)."
        install_packages "${missing[@]}"
        STITCH_CHROMIUM=${STITCH_CHROMIUM:-$(command -v chromium || true)}
        [ -n "$STITCH_CHROMIUM" ] || fail "chromium is installed, but not on the path: put it there."
    fi
    STITCH_BROWSER_TOOLS=$repository/target/tools/browser-$PLAYWRIGHT_VERSION-$AXE_VERSION
    export STITCH_CHROMIUM STITCH_BROWSER_TOOLS
    install_browser_tools
}

# The folder is complete once npm has succeeded; otherwise it is created again.
install_browser_tools() {
    local attempt log=$STITCH_BROWSER_TOOLS/npm.log
    [ ! -f "$STITCH_BROWSER_TOOLS/complete" ] || return 0
    for attempt in 1 2 3; do
        rm -rf "$STITCH_BROWSER_TOOLS"
        mkdir -p "$STITCH_BROWSER_TOOLS"
        echo '{"private": true}' >"$STITCH_BROWSER_TOOLS/package.json"
        if (cd "$STITCH_BROWSER_TOOLS" && npm install --no-audit --no-fund --ignore-scripts --save-exact \
            "playwright-core@$PLAYWRIGHT_VERSION" "axe-core@$AXE_VERSION") 2>&1 | without_hosts >"$log"; then
            touch "$STITCH_BROWSER_TOOLS/complete"
            return 0
        fi
        say "fetching playwright-core and axe-core failed (attempt $attempt of 3) …"
        sleep $((attempt * 5))
    done
    fail "npm could not install playwright-core and axe-core: $log says why."
}
