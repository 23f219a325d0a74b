# To be sourced: the nightly Rust that the fuzz targets, Miri and the sanitizers are run with. It is one
# that is known to work; WSLOOP_NIGHTLY names another.
# shellcheck shell=bash disable=SC2034
nightly=${WSLOOP_NIGHTLY:-nightly-2026-05-20}
