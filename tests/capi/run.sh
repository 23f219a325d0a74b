#!/usr/bin/env bash
# The C API: installed as README says, and used by C programs.
# Usage: run.sh      (needs gcc, clang, valgrind, pkg-config, libuv1-dev, libglib2.0-dev, python3, cbindgen)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
pid=
cleanup() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
for tool in openssl gcc clang valgrind pkg-config python3 cbindgen; do
    command -v "$tool" >/dev/null || { echo "run.sh: $tool is missing" >&2; exit 1; }
done

echo '== header and Rust agree, and where they did not it would be found'
python3 tests/capi/judge.py src/capi/wsloop.h "$work"
drifts=(
    's/uint32_t max_events;/int32_t max_events;/'
    's/^  uint64_t bytes_in;/  uint64_t bytes_in, more;/'
    's/\(int wsloop_close(.*\)uint16_t code/\1uint32_t code/'
    's/WSLOOP_ERR_FULL = -5/WSLOOP_ERR_FULL = -55/'
    's/typedef uint64_t wsloop_source;/typedef uint32_t wsloop_source;/'
)
for drift in "${drifts[@]}"; do
    sed "$drift" src/capi/wsloop.h > "$work/drift.h"
    ! cmp -s src/capi/wsloop.h "$work/drift.h" || { echo "run.sh: nothing to $drift" >&2; exit 1; }
    if python3 tests/capi/judge.py "$work/drift.h" "$work" > "$work/found" 2>&1; then
        echo "run.sh: not found: $drift" >&2
        exit 1
    fi
    grep -qE 'static assertion failed|conflicting types' "$work/found"
done

echo '== the lines of README install it, and compile demo/echo.c'
export prefix=$work/prefix
sed -n '/^## Inside a C program/,/^## /p' README.md | sed -n '/^```sh/,/^```/p' | grep -v '^```' > "$work/lines"
(set -eu; . "$work/lines"; rm echo echo-static)
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
flags=$(pkg-config --cflags --libs wsloop)
strict='-g -D_DEFAULT_SOURCE -Wall -Wextra -pedantic -Werror'

echo '== only wsloop_ is exported, and all that the header names'
exported=$(nm -D --defined-only "$prefix/lib/libwsloop.so" | awk '{ print $3 }' | sort)
named=$(gcc -E -P src/capi/wsloop.h | grep -oE '\bwsloop_[a-z_]+\(' | tr -d '(' | sort -u)
diff <(echo "$exported") <(echo "$named")

echo '== gcc and clang, C99 and C++17; the programs that people copy, as they come too'
for cc in gcc clang; do
    for file in demo/echo.c demo/embed.c; do
        # shellcheck disable=SC2086
        $cc -Werror "$file" -o "$work/plain" $flags
        # shellcheck disable=SC2086
        $cc -Wall -Wextra -pedantic -Werror "$file" -o "$work/plain" $flags
    done
    for file in demo/echo.c demo/embed.c tests/capi/unit.c tests/capi/loops.c; do
        # shellcheck disable=SC2086
        $cc -std=c99 $strict "$file" -o "$work/$(basename "$file" .c)-$cc" $flags
    done
    # shellcheck disable=SC2086
    $cc -std=c99 $strict -pthread tests/capi/threads.c -o "$work/threads-$cc" $flags
    # shellcheck disable=SC2086
    $cc -x c++ -std=c++17 $strict tests/capi/hello.cpp -o "$work/hello-$cc" $flags -lstdc++
    "$work/hello-$cc"
done
# shellcheck disable=SC2046,SC2086
gcc -std=c99 $strict tests/capi/libuv.c -o "$work/libuv" $flags $(pkg-config --cflags --libs libuv)
# shellcheck disable=SC2046,SC2086
gcc -std=c99 $strict tests/capi/glib.c -o "$work/glib" $flags $(pkg-config --cflags --libs glib-2.0)
# These with compression and TLS.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cargo rustc --quiet --lib --profile capi --no-default-features --features capi,deflate,tls \
    --crate-type staticlib
gcc -std=c99 $strict tests/capi/tls.c "${CARGO_TARGET_DIR:-target}/capi/libwsloop.a" -Isrc/capi \
    -o "$work/tls" -lm
# shellcheck disable=SC2086
clang -std=c99 $strict -DWITH_DEFLATE "-DWITH_TLS=\"$work\"" -fsanitize=address,undefined -fno-sanitize-recover=all tests/capi/unit.c \
    "${CARGO_TARGET_DIR:-target}/capi/libwsloop.a" -Isrc/capi -o "$work/unit-sanitized" -lm

echo '== what the header promises'
"$work/unit-gcc"
"$work/unit-clang"
"$work/unit-sanitized"
valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=all \
    --errors-for-leak-kinds=all "$work/unit-gcc"

echo '== four threads at once'
"$work/threads-gcc"
"$work/threads-clang"
valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=all \
    --errors-for-leak-kinds=all "$work/threads-gcc"

# start PROGRAM [ARGUMENT…]: sets $pid and $address.
start() {
    coproc SERVER { exec "$@"; }
    pid=$SERVER_PID
    local line
    IFS= read -r -t 30 line <&"${SERVER[0]}"
    address=127.0.0.1:${line##* }
}

# stop SIGNAL: it must end by itself, with status 0.
stop() {
    local ending=$pid
    kill "-$1" "$ending"
    timeout 30 tail --pid="$ending" -s 0.1 -f /dev/null
    pid=
    wait "$ending"
}

for loop in run turn poll select epoll epoll-edge fd-only libuv glib; do
    echo "== loop: $loop"
    case $loop in
        libuv | glib) start "$work/$loop" ;;
        *) start "$work/loops-gcc" "$loop" ;;
    esac
    python3 tests/capi/burst.py "$address" 20
    python3 tests/interop/raw.py "$address" | tail -n 1
    stop TERM
done

echo '== a loop that ignores the timeout does stall'
start "$work/loops-gcc" careless
! python3 tests/capi/burst.py "$address" 2
stop TERM

echo '== TLS, and clients that go in the midst of what they are sent'
# What ring's assembly writes is uninitialised to valgrind.
start valgrind -q --error-exitcode=9 --undef-value-errors=no --leak-check=full "$work/tls" "$work/cert.pem" "$work/key.pem"
python3 tests/capi/tls.py "$address"
stop TERM

echo '== demo/embed.c: a timer and standard input beside it'
for program in embed-gcc embed-clang; do
    python3 tests/capi/embed.py "$work/$program" | tail -n 1
done
python3 tests/capi/embed.py valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=all \
    --errors-for-leak-kinds=all "$work/embed-gcc"

echo '== under valgrind, by five versions'
start valgrind -q --error-exitcode=9 --leak-check=full "$work/echo-gcc" 127.0.0.1:0
python3 tests/interop/raw.py "$address"
stop INT
echo 'the C API holds'
