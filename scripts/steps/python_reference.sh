#!/usr/bin/env bash
# For the same calls our scrape equals what Python's prometheus_client exposes.
#
# The example golden_calls makes exactly the calls of python_reference.py through the typed groups and prints its
# scrape on standard output: `golden_calls --text` as text 0.0.4, `golden_calls --openmetrics` as OpenMetrics.
. scripts/lib.sh
need_venv
cargo build --example golden_calls --locked
folder=$(scratch python_reference)
for format in text openmetrics; do
    "$JUDGES" tests/judges/python_reference.py "--$format" >"$folder/python.$format"
    (cd "$folder" && "$TARGET/debug/examples/golden_calls" "--$format" >"ours.$format")
    "$JUDGES" tests/judges/parse.py "$folder/ours.$format"
    "$JUDGES" tests/judges/compare.py "$folder/python.$format" "$folder/ours.$format"
done
