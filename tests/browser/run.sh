#!/usr/bin/env bash
# A real browser (chromium by playwright-core) against the binary and its demo pages.
# Usage: run.sh WSLOOP_BINARY [SCREENSHOT_DIR [tls]]
# Needs node, npm, chromium, x11vnc; for tls, which is for a binary with the feature, openssl. Installs into a
# temporary folder.
set -euo pipefail
case $#-${3-tls} in
[123]-tls) ;;
*) echo "usage: run.sh WSLOOP_BINARY [SCREENSHOT_DIR [tls]]" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

install_browser_tests
[ $# = 1 ] || mkdir -p "$2"

CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
export CHROMIUM

scheme=http
flags=()
if [ "${3-}" = tls ]; then
    scheme=https
    certify
    flags=("${tls[@]}")
    export NODE_EXTRA_CA_CERTS=$work/server.pem
fi
# What is bridged: the train, whose program says which process it is, and programs for the terminal.
export WSLOOP_TRAIN=$here/../../demo/train.py WSLOOP_TRAIN_PID=$work/train.pid
bridges=(
    --bridge "/train=shared:exec:echo \$\$ > '$WSLOOP_TRAIN_PID'; exec '$WSLOOP_TRAIN'"
    --bridge '/shout=exec:sed -u "s/.*/\U&!/; /^QUIT/q"'
    --bridge '/greet=exec:while read -r name; do echo "Hello $name!"; done'
    --bridge '/fail=exec:read line; exit 3'
    --bridge '/bytes=bytes:exec:cat'
)
start_server "$1" --feed 127.0.0.1:0=/plot --publish /live --last /live "${bridges[@]}" "${flags[@]}"
IFS= read -r -t 20 line <&"${WSLOOP[0]}" || line='(nothing)'
[[ $line =~ ^lines\ from\ tcp://([^/]+:[0-9]+)\  ]] || { echo "run.sh: where do lines go? $line" >&2; exit 1; }
export WSLOOP_FEED=${BASH_REMATCH[1]}
failed=0
node "$work/browser/run.mjs" "$scheme://$address" "${@:2:1}" || failed=1
stop_server || failed=1
if [ "$scheme" = http ]; then
    node "$work/browser/restart.mjs" "$(realpath "$1")" || failed=1
    node "$work/browser/vnc.mjs" "$(realpath "$1")" || failed=1
fi
exit "$failed"
