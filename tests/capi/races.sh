#!/usr/bin/env bash
# The remotes from four threads under ThreadSanitizer, which looks into the Rust, its standard library
# and the C. (Helgrind knows nothing of the atomics that both are made of, and reports each.)
# Usage: races.sh      (needs clang, and nightly Rust with rust-src)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v clang >/dev/null || { echo 'races.sh: clang is missing' >&2; exit 1; }

# shellcheck source=tests/nightly.sh
. tests/nightly.sh
target=x86_64-unknown-linux-gnu
folder=${CARGO_TARGET_DIR:-target}/races
RUSTFLAGS=-Zsanitizer=thread CARGO_PROFILE_DEV_DEBUG=line-tables-only \
    cargo "+$nightly" rustc --quiet -Zbuild-std --target "$target" --target-dir "$folder" \
    --lib --no-default-features --features capi --crate-type staticlib
# Rust's own of it: clang's may be too old for what its compiler has put in.
runtime=$(rustc "+$nightly" --print sysroot)
runtime=$(ls "$runtime/lib/rustlib/$target/lib/"librustc-*_rt.tsan.a)

# build OUT [FLAG…]
build() {
    clang -std=c99 -g -D_DEFAULT_SOURCE -fsanitize=thread -fno-sanitize-link-runtime "${@:2}" -Isrc/capi \
        tests/capi/threads.c "$folder/$target/debug/libwsloop.a" \
        -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -rdynamic -pthread -lm -ldl -lrt -o "$1"
}

build "$work/threads"
"$work/threads"
build "$work/race" -DRACE
if "$work/race" > "$work/found" 2>&1; then
    echo 'races.sh: a race was not found' >&2
    exit 1
fi
grep -m 1 'data race' "$work/found"
