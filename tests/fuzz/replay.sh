#!/usr/bin/env bash
# Replays the seeds, made from tests/vectors, and all regressions, on stable Rust, in seconds.
# Usage: tests/fuzz/replay.sh [FILE…]    FILE: tests/fuzz/{regressions,artifacts,corpus}/TARGET/…
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}/replay
TMPDIR=$(mktemp -d)
trap 'rm -rf "$TMPDIR"' EXIT
export CARGO_TARGET_DIR TMPDIR RUSTFLAGS='--cfg fuzzing'
cargo run --quiet --locked --manifest-path "$here/Cargo.toml" -p wsloop-fuzz-replay -- "$@"
