#!/usr/bin/env bash
# Compiles uWebSockets, without TLS and compression, from the sources in the crate that Cargo.toml
# names. Usage: build.sh OUTPUT
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cargo metadata --locked --format-version 1 --features sources --manifest-path "$here/Cargo.toml" \
    >"$1.json"
manifest=$(grep -o '"manifest_path":"[^"]*/libuwebsockets-sys-[^"]*"' "$1.json" | cut -d'"' -f4)
sources=${manifest%/Cargo.toml}/uWebSockets
objects=$(mktemp -d)
trap 'rm -rf "$objects" "$1.json"' EXIT
flags=(-O3 -flto -DLIBUS_NO_SSL -DUWS_NO_ZLIB -w "-I$sources/uSockets/src")
for file in "$sources"/uSockets/src/*.c "$sources"/uSockets/src/eventing/epoll_kqueue.c; do
    cc "${flags[@]}" -c "$file" -o "$objects/$(basename "$file").o"
done
c++ -std=c++20 "${flags[@]}" "-I$sources/src" "$here/main.cpp" "$objects"/*.o -o "$1"
