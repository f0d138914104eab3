#!/usr/bin/env bash
# Rust is formatted; shell scripts and Python parse.
. scripts/lib.sh
cargo fmt --all --check
mapfile -t scripts < <(find scripts benches .ci -type f \( -name '*.sh' -o -path '.ci/*' \))
for script in "${scripts[@]}"; do
    bash -n "$script"
done
if have shellcheck; then
    shellcheck -x "${scripts[@]}"
fi
