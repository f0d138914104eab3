#!/usr/bin/env bash
# What it costs: runs every bench in rounds, prints the table and writes target/bench-report.json.
#
#     benches/report.sh              five rounds, some eight minutes on two cores once it is built
#     ROUNDS=1 benches/report.sh     a quick look
#     benches/report.sh --test       every bench runs each measurement once, unoptimized: it still works, no more is said
#
# Ours and its peer stand side by side in a round, and a line of the table is the round with the median ratio: a
# neighbour that is busy for a while spoils a round, not the table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BENCHES=(recording scrape alerts start logs orders hung_collector)
if [ "${1:-}" = --test ]; then
    exec cargo test --locked "${BENCHES[@]/#/--bench=}"
fi
ROUNDS=${ROUNDS:-5}
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# Criterion's lines, and what a service of a bench says.
LOG=$TARGET/bench-report.log

cargo bench --locked --no-run "${BENCHES[@]/#/--bench=}" --bench report
rm -rf "$TARGET/bench-rounds" "$TARGET/bench-report.json"
: >"$LOG"
for ((round = 1; round <= ROUNDS; round++)); do
    echo "round $round of $ROUNDS ($(date +%T))" | tee -a "$LOG"
    CRITERION_HOME=$TARGET/bench-rounds/$round \
        cargo bench --locked --quiet "${BENCHES[@]/#/--bench=}" >>"$LOG" 2>&1 || { tail -n 20 "$LOG"; exit 1; }
done
echo
BENCH_REPORT=$TARGET cargo bench --locked --quiet --bench report
