#!/usr/bin/env bash
# Firefox against the binary: every page of the demo site opens and connects.
# Usage: firefox.sh WSLOOP_BINARY [SCREENSHOT_DIR]      (needs node and firefox-esr, or $FIREFOX)
set -euo pipefail
[ $# = 1 ] || [ $# = 2 ] || { echo "usage: firefox.sh WSLOOP_BINARY [SCREENSHOT_DIR]" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

start_server "$1" --bridge "/train=shared:exec:'$here/../../demo/train.py'"
failed=0
node "$here/firefox.mjs" "http://$address" "${@:2}" || failed=1
stop_server || failed=1
exit "$failed"
