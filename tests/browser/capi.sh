#!/usr/bin/env bash
# Chromium talks to demo/echo.c, from a page of another port of the same host.
# Usage: capi.sh WSLOOP_BINARY     (needs cc, node, npm, chromium; installs into a temporary folder)
set -euo pipefail
[ $# = 1 ] || { echo "usage: capi.sh WSLOOP_BINARY" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=$(realpath "$1")
cd "$here/../.."
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

install_browser_tests
cargo rustc --quiet --lib --profile capi --no-default-features --features capi --crate-type staticlib
cc demo/echo.c -o "$work/echo" -Isrc/capi "${CARGO_TARGET_DIR:-target}/capi/libwsloop.a"

start_server "$binary"
mkfifo "$work/said"
timeout 120 "$work/echo" 127.0.0.1:0 > "$work/said" &
echo=$!
IFS= read -r line < "$work/said"
failed=0
node "$work/browser/capi.mjs" "http://$address" "ws://127.0.0.1:${line##* }" || failed=1
kill -INT "$echo"
wait "$echo" || failed=1
stop_server || failed=1
exit "$failed"
