#!/usr/bin/env bash
# Every Rust test: units, behaviour, the examples in the documentation.
. scripts/lib.sh
cargo test --all-features --locked --no-fail-fast
