#!/usr/bin/env bash
# A real browser (chromium by playwright-core) against the binary and its demo pages.
# Usage: run.sh WSLOOP_BINARY [SCREENSHOT_DIR]      (needs node, npm, chromium; installs into a temporary folder)
set -euo pipefail
[ $# = 1 ] || [ $# = 2 ] || { echo "usage: run.sh WSLOOP_BINARY [SCREENSHOT_DIR]" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

mkdir "$work/browser"
cp "$here"/*.mjs "$here"/*.json "$work/browser"
npm ci --prefix "$work/browser" --no-audit --no-fund --loglevel=error
[ $# = 1 ] || mkdir -p "$2"

CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
export CHROMIUM

start_server "$1" --feed 127.0.0.1:0=/plot
IFS= read -r -t 20 line <&"${WSLOOP[0]}" || line='(nothing)'
[[ $line =~ ^lines\ from\ tcp://([^/]+:[0-9]+)\  ]] || { echo "run.sh: where do lines go? $line" >&2; exit 1; }
export WSLOOP_FEED=${BASH_REMATCH[1]}
failed=0
node "$work/browser/run.mjs" "http://$address" "${@:2}" || failed=1
stop_server || failed=1
node "$work/browser/restart.mjs" "$(realpath "$1")" || failed=1
exit "$failed"
