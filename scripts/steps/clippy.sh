#!/usr/bin/env bash
# No lint, with all features and with none.
. scripts/lib.sh
cargo clippy --all-targets --all-features --locked -- -D warnings
cargo clippy --lib --no-default-features --locked -- -D warnings
