#!/usr/bin/env bash
# Builds and measures. Usage: benches/run.sh [OPTION…], options of `load table`: --rounds N,
# --seconds S, --only PART-OF-A-WORKLOAD. Another binary to measure: WSLOOP=/path/to/wsloop
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
if [ -z "${WSLOOP-}" ]; then
    cargo build --release --manifest-path "$here/../Cargo.toml" >&2
    WSLOOP=${CARGO_TARGET_DIR:-$here/../target}/release/wsloop
fi
cargo build --release --locked --manifest-path "$here/Cargo.toml" >&2
exec "$target/release/load" table "$@" \
    --server "floor=$target/release/floor {port}" \
    --server "wsloop=$WSLOOP -l 127.0.0.1:{port} --max-message 16777216 --quiet"
