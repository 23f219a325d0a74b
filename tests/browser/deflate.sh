#!/usr/bin/env bash
# Chromium and permessage-deflate, against a binary with the feature.
# Usage: deflate.sh WSLOOP_BINARY      (needs node, npm, chromium; installs into a temporary folder)
set -euo pipefail
[ $# = 1 ] || { echo "usage: deflate.sh WSLOOP_BINARY" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

install_browser_tests

start_server "$1" --deflate
failed=0
node "$work/browser/deflate.mjs" "http://$address" || failed=1
stop_server || failed=1
exit "$failed"
