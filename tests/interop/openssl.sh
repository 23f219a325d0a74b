#!/usr/bin/env bash
# OpenSSL's own client against a binary with the feature `tls`: what a WebSocket client never does.
# Usage: openssl.sh WSLOOP_BINARY             (needs openssl)
set -euo pipefail
[ $# = 1 ] || { echo "usage: openssl.sh WSLOOP_BINARY" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/server.sh
. "$here/server.sh"

# To write to a client that has gone is no end of this script.
trap '' PIPE
failed=0
# check WHAT PATTERN OCTETS [OPTION…]: sends the bytes, and looks for the pattern in what s_client says.
check() {
    local said
    said=$(printf '%b' "$3" | timeout 20 openssl s_client -connect "$address" -CAfile "$work/server.pem" \
        -ign_eof "${@:4}" 2>&1 | tr -d '\0') || true
    if grep -q -- "$2" <<<"$said"; then
        echo "ok   $1"
    else
        printf 'FAIL %s: no %s in:\n%s\n' "$1" "$2" "$(tail -n 30 <<<"$said")"
        failed=1
    fi
}

last='GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
answer='HTTP/1.1 404 Not Found'

certify
start_server "$1" "${tls[@]}"
for version in tls1_2 tls1_3; do
    check "$version: the certificate is trusted" 'Verify return code: 0 (ok)' "$last" "-$version"
    check "$version: a request is answered" "$answer" "$last" "-$version"
    check "$version: records of 512 bytes" "$answer" "$last" "-$version" -max_send_frag 512 -split_send_frag 512
    check "$version: http/1.1 is agreed on" 'ALPN protocol: http/1.1' "$last" "-$version" -alpn h2,http/1.1
    check "$version: h2 alone is refused" 'no application protocol' "$last" "-$version" -alpn h2
    check "$version: the end is announced" 'close_notify' "$last" "-$version" -msg
done
check 'TLS 1.1 is refused' 'SSL alert number' "$last" -tls1_1 -cipher 'DEFAULT:@SECLEVEL=0'

# converse WHAT LETTER SAID PATTERN OPTION: has s_client do what a letter stands for, waits until it has
# said so, and then sends a request and looks for the pattern in all that comes.
converse() {
    local line said=
    coproc CLIENT { exec timeout 20 openssl s_client -connect "$address" -CAfile "$work/server.pem" "$5" 2>&1; }
    exec {to}>&"${CLIENT[1]}" {from}<&"${CLIENT[0]}"
    echo "$2" >&"$to" || true
    while IFS= read -r -t 20 line <&"$from"; do
        said+=$line$'\n'
        [ "$line" != "$3" ] || printf '%b' "$last" >&"$to" 2>/dev/null || true
    done
    exec {to}>&- {from}<&-
    if grep -q -- "$4" <<<"$said"; then echo "ok   $1"; else echo "FAIL $1: no $4 in:"$'\n'"$said"; failed=1; fi
}
converse 'a request after new keys is answered' K KEYUPDATE "$answer" -tls1_3
converse 'nothing is negotiated twice' R RENEGOTIATING 'no renegotiation\|SSL alert number' -tls1_2
check 'and others are served after it' "$answer" "$last"

# A session is resumed.
for version in tls1_2 tls1_3; do
    printf '%b' "$last" | timeout 20 openssl s_client -connect "$address" -ign_eof "-$version" \
        -sess_out "$work/session" >/dev/null 2>&1 || true
    check "$version: a session is resumed" '^Reused, ' "$last" "-$version" -sess_in "$work/session"
done

# Keys in each of their forms; RSA too.
stop_server || failed=1
for form in pkcs8 pkcs1 sec1; do
    case $form in
    pkcs8) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/server.key" 2>/dev/null ;;
    pkcs1) openssl genrsa -traditional -out "$work/server.key" 2048 2>/dev/null ;;
    sec1) openssl ecparam -name prime256v1 -genkey -noout -out "$work/server.key" ;;
    esac
    openssl req -x509 -key "$work/server.key" -days 30 -subj /CN=localhost -out "$work/server.pem" 2>/dev/null
    start_server "$1" "${tls[@]}"
    check "a key in $(grep -o -m 1 'BEGIN .*KEY' "$work/server.key")" "$answer" "$last"
    stop_server || failed=1
done
exit "$failed"
