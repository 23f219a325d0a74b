#!/usr/bin/env bash
# Builds and measures, and prints Markdown.
# Usage: benches/run.sh                 everything
#        benches/run.sh quick           a short run, to see that it works; its figures mean little
#        benches/run.sh MODE [OPTION…]  one mode of the generator; `benches/run.sh help`
# Another binary to measure: WSLOOP=/path/to/wsloop. Needs Linux and two processors.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${WSLOOP-}" ]; then
    cargo build --release --locked --manifest-path "$here/../Cargo.toml" >&2
    WSLOOP=${CARGO_TARGET_DIR:-$here/../target}/release/wsloop
fi
built=${CARGO_TARGET_DIR:-$here/target}/release
cargo build --release --locked --manifest-path "$here/Cargo.toml" >&2
servers=(
    --server "floor=$built/floor {port}"
    --server "wsloop=$WSLOOP -l 127.0.0.1:{port} --max-message 16777216 --quiet"
)

case ${1-} in
'')
    "$built/load" table "${servers[@]}"
    echo
    "$built/load" memory "${servers[@]}"
    ;;
quick)
    "$built/load" table --rounds 2 --seconds 0.05 "${servers[@]}"
    echo
    "$built/load" memory --connections 200 "${servers[@]}"
    ;;
*) exec "$built/load" "$@" "${servers[@]}" ;;
esac
