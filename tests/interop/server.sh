# Sourced by the run.sh scripts of tests/: a temporary folder $work, and wsloop on a free port.
# shellcheck shell=bash

work=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# start_server BINARY [FLAG…]: sets $address to HOST:PORT and $server to the process id.
start_server() {
    local line
    coproc WSLOOP { exec "$1" --listen 127.0.0.1:0 "${@:2}"; }
    server=$!
    IFS= read -r -t 20 line <&"${WSLOOP[0]}" || line='(nothing)'
    [[ $line =~ ^listening\ on\ wss?://([^/]+:[0-9]+)$ ]] || {
        echo "${0##*/}: expected 'listening on ws://…' from $1, got: $line" >&2
        return 1
    }
    # shellcheck disable=SC2034 # for the script that sources this
    address=${BASH_REMATCH[1]}
}

# certify: server.pem and server.key in $work, for localhost and 127.0.0.1; and $tls, the flags that have
# the server use them.
certify() {
    command -v openssl >/dev/null || { echo "${0##*/}: openssl is missing" >&2; return 1; }
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$work/server.key" -out "$work/server.pem" 2>/dev/null
    # shellcheck disable=SC2034 # for the script that sources this
    tls=(--tls-cert "$work/server.pem" --tls-key "$work/server.key")
}

# install_browser_tests: the programs of tests/browser, and what they need, in $work/browser.
install_browser_tests() {
    mkdir "$work/browser"
    cp "$here"/*.mjs "$here"/*.json "$work/browser"
    npm ci --prefix "$work/browser" --no-audit --no-fund --loglevel=error
}

# stop_server: it must still run, and SIGTERM must end it within 15 s with exit status 0.
stop_server() {
    local status=0 pid=$server
    server=
    if ! kill -TERM "$pid" 2>/dev/null; then
        wait "$pid" || status=$?
        echo "${0##*/}: the server ended before it was told to, with status $status" >&2
        return 1
    fi
    timeout 15 tail --pid="$pid" -s 0.1 -f /dev/null || kill -KILL "$pid"
    wait "$pid" || status=$?
    [ "$status" = 0 ] || echo "${0##*/}: exit status $status instead of 0 within 15 s of SIGTERM" >&2
    return "$status"
}
