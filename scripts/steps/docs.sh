#!/usr/bin/env bash
# Documentation without a warning: no broken link, nothing public without a word.
. scripts/lib.sh
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --locked
