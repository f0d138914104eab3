#!/usr/bin/env bash
# Licences, banned crates and sources of the dependencies. Advisories need the newest list from the network and are
# left to a person: cargo deny check advisories
. scripts/lib.sh
readonly VERSION=0.20.2
if ! have cargo-deny; then
    in_ci || skip "cargo-deny is not installed (cargo install --locked cargo-deny)"
    # Beside the other cargo commands, so not in their target folder; unoptimized, since it runs once.
    CARGO_TARGET_DIR=$TOOLS/build cargo install --locked --debug --root "$TOOLS" --version "$VERSION" cargo-deny
    rm -rf "$TOOLS/build"
fi
cargo deny --version
cargo deny check licenses bans sources
echo "advisories are not part of this: cargo deny check advisories"
