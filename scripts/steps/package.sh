#!/usr/bin/env bash
# rust-version is true, and the package holds what its users need.
. scripts/lib.sh
stated=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
used=$(rustc --version | cut -d' ' -f2)
[ -n "$stated" ] || { echo "Cargo.toml states no rust-version"; exit 1; }
if [ "$(printf '%s\n' "$stated" "$used" | sort -V | head -n 1)" != "$stated" ]; then
    echo "Cargo.toml says rust-version = $stated, but this is Rust $used"
    exit 1
fi
case "$used" in
    "$stated" | "$stated".*) echo "rust-version $stated is what everything here is built with" ;;
    *) echo "built with Rust $used; to try rust-version $stated itself: cargo +$stated check" ;;
esac

listed=$(cargo package --list --allow-dirty --locked)
for file in README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE examples/data/daily_bars_2007_2009.csv; do
    grep -qxF "$file" <<<"$listed" || { echo "not in the package: $file"; exit 1; }
done
