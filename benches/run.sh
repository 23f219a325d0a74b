#!/usr/bin/env bash
# Builds and measures, and prints Markdown.
# Usage: benches/run.sh                 everything
#        benches/run.sh quick           a short run, to see that it works; its figures mean little
#        benches/run.sh bridges [OPTION…]  programs and tunnels, beside websocketd and websockify
#        benches/run.sh MODE [OPTION…]  one mode of the generator; `benches/run.sh help`
# Another binary to measure: WSLOOP=/path/to/wsloop. Some peers only: PEERS="fastwebsockets bun";
# `quick` takes those in Rust alone. Needs Linux and two processors.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
if [ -z "${WSLOOP-}" ]; then
    cargo build --release --locked --manifest-path "$here/../Cargo.toml" >&2
    WSLOOP=${CARGO_TARGET_DIR:-$here/../target}/release/wsloop
fi
cargo build --release --locked --manifest-path "$here/Cargo.toml" >&2
load=$target/release/load
peers=$target/peers
mkdir -p "$peers"

in_rust='tungstenite fastwebsockets ws-rs'
case ${1-} in
quick) PEERS=${PEERS-$in_rust} ;;
bridges | lines | tunnel | programs | tunnels | unread) PEERS= ;;
esac
servers=(
    --server "floor=$target/release/floor {port}"
    --server "wsloop=$WSLOOP -l 127.0.0.1:{port} --max-message 16777216 --quiet"
)

# peer NAME COMMAND…
peer() { servers+=(--server "$1=${*:2} {port}"); }
missing() { echo "WITHOUT $1: $2" >&2; }

add_peer() {
    local log=$peers/$1.log
    case $1 in
    tungstenite | fastwebsockets | ws-rs) peer "$1" "$target/release/peer-$1" ;;
    uwebsockets)
        if "$here/peers/uwebsockets/build.sh" "$peers/uwebsockets" >"$log" 2>&1; then
            peer "$1" "$peers/uwebsockets"
        else
            missing "$1" "it needs g++ with C++20, and crates.io; see $log"
        fi
        ;;
    libwebsockets)
        # The words of pkg-config are words of the command.
        # shellcheck disable=SC2046
        if cc -O2 "$here/peers/libwebsockets/main.c" -o "$peers/libwebsockets" \
            $(pkg-config --cflags --libs libwebsockets 2>"$log") >>"$log" 2>&1; then
            peer "$1" "$peers/libwebsockets"
        else
            missing "$1" "apt-get install gcc pkg-config libwebsockets-dev; see $log"
        fi
        ;;
    ws)
        if install_npm "$log" ws@8.23.0; then
            peer "$1" env "NODE_PATH=$peers/ws@8.23.0/node_modules" node "$here/peers/scripts/ws.cjs"
        else
            missing "$1" "apt-get install npm; see $log"
        fi
        ;;
    bun)
        local bun=$peers/bun@1.4.5/node_modules/.bin/bun
        if install_npm "$log" bun@1.4.5 && "$bun" --version >>"$log" 2>&1; then
            peer "$1" "$bun" "$here/peers/scripts/bun.js"
        else
            missing "$1" "apt-get install npm; see $log"
        fi
        ;;
    websockets)
        if install_pypi "$log" websockets==17.4; then
            peer "$1" env "PYTHONPATH=$peers/websockets==17.4" python3 "$here/peers/scripts/python.py"
        else
            missing "$1" "apt-get install python3-pip; see $log"
        fi
        ;;
    *) missing "$1" "there is no such peer" ;;
    esac
}

# install_npm LOG NAME@VERSION
install_npm() {
    [ -d "$peers/$2" ] || npm install --prefix "$peers/$2" --no-audit --no-fund "$2" >"$1" 2>&1
}

# install_pypi LOG NAME==VERSION
install_pypi() {
    [ -d "$peers/$2" ] || python3 -m pip install -q --target "$peers/$2" "$2" >"$1" 2>&1
}

for name in ${PEERS-$in_rust uwebsockets libwebsockets bun ws websockets}; do
    add_peer "$name"
done

# Bridges: each kind has commands of its own. The path is the generator's.
bridging="wsloop=$WSLOOP -l 127.0.0.1:{port} --quiet --max-programs 1000 --bridge /mirror"
of_lines=(--server "$bridging=exec:cat")
of_bytes=(--server "$bridging=tcp:127.0.0.1:{echo}")
of_floods=(--server "$bridging=exec:yes")
add_bridge_peers() {
    if command -v websocketd >/dev/null; then
        local websocketd='websocketd=websocketd --address=127.0.0.1 --port={port} --loglevel=fatal'
        of_lines+=(--server "$websocketd cat")
        of_floods+=(--server "$websocketd yes")
    else
        missing websocketd 'apt-get install websocketd'
    fi
    if command -v websockify >/dev/null; then
        local websockify="$here/peers/scripts/websockify.sh $peers/websockify.log"
        of_bytes+=(--server "websockify=$websockify 127.0.0.1:{port} 127.0.0.1:{echo}")
    else
        missing websockify 'apt-get install websockify'
    fi
}

# bridges [OPTION…]
bridges() {
    "$load" lines "$@" "${of_lines[@]}"
    echo
    "$load" tunnel "$@" "${of_bytes[@]}"
    echo
    "$load" programs "$@" "${of_lines[@]}"
    echo
    "$load" tunnels "$@" "${of_bytes[@]}"
    echo
    "$load" unread "$@" "${of_floods[@]}"
}

measure() { "$load" "$@" "${servers[@]}"; echo; }

# Only the first two servers: the floor and wsloop. The floor has no quotes.
floor_and_wsloop=("${servers[@]:0:4}")
wsloop_alone=("${servers[@]:2:2}")

# valgrind cannot run programs that make machine code, and those with an interpreter take an hour.
native() {
    local index
    for ((index = 1; index < ${#servers[@]}; index += 2)); do
        case ${servers[index]} in
        bun=* | ws=* | websockets=*) echo "WITHOUT ${servers[index]%%=*}: not for valgrind" >&2 ;;
        *) kept+=(--server "${servers[index]}") ;;
        esac
    done
}

mode=${1-}
kept=()
case $mode in
'')
    for each in table memory stalled connections sizes fairness syscalls; do
        measure "$each"
    done
    native
    "$load" instructions "${kept[@]}"
    echo
    "$load" polling "${wsloop_alone[@]}"
    echo
    add_bridge_peers
    bridges
    ;;
bridges)
    add_bridge_peers
    bridges "${@:2}"
    ;;
lines | programs)
    add_bridge_peers
    exec "$load" "$@" "${of_lines[@]}"
    ;;
tunnel | tunnels)
    add_bridge_peers
    exec "$load" "$@" "${of_bytes[@]}"
    ;;
unread)
    add_bridge_peers
    exec "$load" "$@" "${of_floods[@]}"
    ;;
quick)
    measure table --rounds 2 --seconds 0.05
    measure memory --connections 200
    measure stalled --connections 20
    measure fairness --rounds 1 --seconds 0.1
    servers=("${floor_and_wsloop[@]}")
    measure connections --rounds 1 --seconds 0.02 --only 1,000
    measure sizes --rounds 1 --seconds 0.02
    measure syscalls --idle 1
    measure instructions --batches 20
    "$load" polling --connections 100 "${wsloop_alone[@]}"
    echo
    bridges --rounds 1 --seconds 0.02 --connections 5 --idle 0.1
    ;;
instructions)
    native
    exec "$load" "$@" "${kept[@]}"
    ;;
polling) exec "$load" "$@" "${wsloop_alone[@]}" ;;
*) exec "$load" "$@" "${servers[@]}" ;;
esac
