#!/usr/bin/env bash
# Independent clients against the binary: plain sockets, PyPI `websockets`, npm `ws`.
# Usage: run.sh WSLOOP_BINARY             (needs python3 with venv, node, npm; installs into a temporary folder)
#        run.sh WSLOOP_BINARY deflate     compressed, for a binary with the feature; more checks of that
#        run.sh WSLOOP_BINARY tls         by wss://, for a binary with the feature
set -euo pipefail
case $#-${2-plain} in
1-plain) flags=() ;;
2-deflate) flags=(--deflate) ;;
2-tls) ;;
*) echo "usage: run.sh WSLOOP_BINARY [deflate|tls]" >&2 && exit 2 ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/server.sh
. "$here/server.sh"

cp "$here"/*.py "$here"/*.mjs "$here"/*.json "$here/requirements.txt" "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check -r "$work/requirements.txt"
npm ci --prefix "$work" --no-audit --no-fund --loglevel=error

scheme=ws
if [ "${2-}" = tls ]; then
    scheme=wss
    certify
    flags=("${tls[@]}")
    # Whom Python and Node trust.
    export SSL_CERT_FILE=$work/server.pem NODE_EXTRA_CA_CERTS=$work/server.pem
fi

start_server "$1" "${flags[@]}"
failed=0
echo "== plain sockets"
python3 "$work/raw.py" "$scheme://$address" || failed=1
echo "== websockets (Python)"
"$work/venv/bin/python" "$work/client.py" "$scheme://$address" || failed=1
echo "== ws (Node)"
node "$work/client.mjs" "$scheme://$address" || failed=1
if [ "${2-}" = tls ]; then
    echo "== ws (Node), TLS 1.2"
    node --tls-max-v1.2 "$work/client.mjs" "$scheme://$address" || failed=1
fi
if [ "${2-}" = deflate ]; then
    echo "== all settings of permessage-deflate: websockets"
    "$work/venv/bin/python" "$work/deflate.py" "$scheme://$address" || failed=1
    echo "== all settings of permessage-deflate: ws"
    node "$work/deflate.mjs" "$scheme://$address" || failed=1
fi
stop_server || failed=1
exit "$failed"
