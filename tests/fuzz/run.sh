#!/usr/bin/env bash
# Fuzzes one target, or all one after the other. Needs a nightly toolchain; installs cargo-fuzz.
# Usage: tests/fuzz/run.sh TARGET|all SECONDS [LIBFUZZER-OPTION…]
# What is found lies in artifacts/TARGET/: replay.sh shows it, and regressions/TARGET/ keeps it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 2; }
targets=$1 seconds=$2
[ "$targets" != all ] || targets='head hybi hixie inflate connection compressed tls path'
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --version 0.13.2 --locked
# shellcheck source=tests/nightly.sh
. "$here/../nightly.sh"

CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}
TMPDIR=$(mktemp -d)
trap 'rm -rf "$TMPDIR"' EXIT
export CARGO_TARGET_DIR TMPDIR
"$here/replay.sh" --seeds "$here/corpus"
for target in $targets; do
    mkdir -p "$here/corpus/$target" "$here/regressions/$target"
    cargo "+$nightly" fuzz run --fuzz-dir "$here" "$target" \
        "$here/corpus/$target" "$here/regressions/$target" -- \
        -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 "${@:3}"
done
